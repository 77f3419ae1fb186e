"""``aigq think reason``: histories become interest points, by a language model at a URL or by the network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aigq.extras import extras
from aigq.think_reason_queue import collect_answers, enqueue_histories, work_off
from aigq.think_reason_runs import (
    Asking,
    Reasoning,
    reason_by_language_model,
    reason_by_network,
    show_question,
)
from streams.errors import SettingsError
from training.think.language_model.endpoint import Endpoint, checked_url, read_extra, read_key
from training.think.language_model.spending import Limits

EXAMPLES = (
    "Examples: aigq think reason think/work --url http://127.0.0.1:8000/v1 --model qwen3 "
    "--data data/complete-journey · aigq think reason think/work --model qwen3 --dry-run · "
    "aigq think reason think/work --run runs/think --data data/complete-journey"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(reason)


def reason(
    work: Annotated[Path, typer.Argument(help="Folder with histories.jsonl; see `aigq think mine`.")],
    url: Annotated[
        str | None, typer.Option("--url", help="OpenAI-compatible endpoint, up to and with /v1.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="The model's name at the endpoint.")] = None,
    run: Annotated[Path | None, typer.Option("--run", help="A run of the Think network instead.")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="The data set: write proposals with evidence, too.")
    ] = None,
    key_env: Annotated[
        str | None, typer.Option("--key-env", help="Environment variable that holds the endpoint's key.")
    ] = None,
    key_file: Annotated[Path | None, typer.Option("--key-file", help="File that holds it.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many histories, the first.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Questions at the same time.")] = 4,
    max_requests: Annotated[int | None, typer.Option(min=0, help="Stop before more requests.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=0, help="Stop before more tokens, of questions and answers.")
    ] = None,
    max_money: Annotated[
        float | None, typer.Option(min=0, help="Stop before it costs more, by the two prices.")
    ] = None,
    price_in: Annotated[float, typer.Option(min=0, help="Of a million tokens of questions.")] = 0.0,
    price_out: Annotated[float, typer.Option(min=0, help="Of a million tokens of answers.")] = 0.0,
    stream: Annotated[bool, typer.Option("--stream", help="Let the endpoint send answers in parts.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds for one answer.")] = 120.0,
    attempts: Annotated[int, typer.Option(min=1, help="For one question.")] = 6,
    answer_tokens: Annotated[int, typer.Option(min=1, help="Of one answer at most.")] = 1024,
    temperature: Annotated[float, typer.Option(min=0, help="0: the likeliest answer.")] = 0.0,
    extra: Annotated[
        str | None, typer.Option(help="More fields of each request, as a JSON object; null leaves one out.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--dry-run", help="Print one question and what all would take; ask nobody.")
    ] = False,
    enqueue: Annotated[
        bool, typer.Option("--enqueue", help="Put histories without an answer on a Kafka topic.")
    ] = False,
    worker: Annotated[
        bool, typer.Option("--worker", help="Answer what is on the topic; start as many as you like.")
    ] = False,
    collect: Annotated[
        bool, typer.Option("--collect", help="Take the workers' answers off their topic.")
    ] = False,
    idle_s: Annotated[
        float | None, typer.Option("--idle", min=1, help="A worker ends when nothing came for so long.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Ask for the needs behind each history, check the answers, and pool them into proposals.

    Writes WORK/reasoned-MAKER.jsonl and, with --data, WORK/proposals-MAKER.jsonl for `aigq think review`.
    Answers are kept in WORK/llm-answers.jsonl as they come: run it again and nothing is asked twice. Texts
    of a shop's log are sent to the endpoint, nothing of who did what. Needs the extras data and
    think; --run train instead of think.
    """
    if sum((show, enqueue, worker, collect)) > 1:
        raise SettingsError(
            "--dry-run, --enqueue, --worker and --collect are ways of their own.", action="Give one of them."
        )
    plan = Reasoning(work, data, limit, json)
    with extras("Reasoning", "pip install 'aigq[cpu,data,think]', and train for --run"):
        if run is not None:
            if url or model or show or enqueue or worker or collect:
                raise SettingsError("--run goes without a language model.", action="Leave its options out.")
            reason_by_network(plan, run)
            return
        asking = Asking(
            Endpoint(
                url=url or "",
                model=_needed(model, "--model"),
                key=read_key(key_env, key_file),
                stream=stream,
                timeout_s=timeout_s,
                attempts=attempts,
                temperature=temperature,
                answer_tokens=answer_tokens,
                extra=read_extra(extra),
            ),
            Limits(max_requests, max_tokens, max_money, price_in, price_out),
            concurrency,
        )
        if show:
            show_question(plan, asking)
        elif enqueue:
            enqueue_histories(plan, asking.endpoint.maker)
        elif collect:
            collect_answers(plan, asking.endpoint.maker)
        else:
            checked_url(_needed(url, "--url"))
            (work_off(plan, asking, idle_s) if worker else reason_by_language_model(plan, asking))


def _needed(value: str | None, name: str) -> str:
    if not value:
        raise SettingsError(f"{name} is missing.", action="See: aigq think reason --help")
    return value

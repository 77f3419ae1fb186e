"""Makes a data set (training.datasets.dataset), or what is missing of one or out of date.

A file is written in one step, and left alone by a later build as long as it and what it was made from (data,
options, version of the code) are the same: an interrupted build goes on where it stopped.
Impressions of The Complete Journey are simulated, so are searches and the order within a basket; a log's are
its own. `simulated` in dataset.json says so.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import polars as pl

from agents.hints.bundle import format_lexicon, parse_lexicon
from agents.hints.encoder import SubwordEncoder
from agents.hints.manifest import CODE_VERSION, LEXICON, TABLE, TOKENIZER
from agents.session.interest import ACTION_CODES
from streams.deny_file import read_deny_file
from streams.deny_rules import NO_RULES
from streams.records import Action
from training.datasets.complete_journey import Span, first_households, load_phrases, load_purchases
from training.datasets.dataset import (
    ABOUT,
    BEHAVIOURS,
    COUNTED_SEARCHES,
    FORMAT,
    IMPRESSIONS,
    NO_RESULTS_RULES,
    OF_A_LOG,
    PURCHASES,
    Dataset,
    about_of,
    load_dataset,
    samples_name,
)
from training.datasets.dataset_config import PARTS, WHOLE_JOURNEY, Split, until
from training.datasets.dataset_config import DatasetConfig as DatasetConfig
from training.datasets.dataset_config import split_of as split_of
from training.datasets.erased_people import read_erased
from training.datasets.interface import IMPRESSIONS as IMPRESSION_COLUMNS
from training.datasets.interface import impressions
from training.datasets.sample_files import load_samples, make_samples, save_samples
from training.datasets.shop_log import ShopLog, read_shop_log
from training.datasets.teachable import Teachable, check_enough, found_nothing, no_results_rules
from training.datasets.whole_files import replaced, sha256_of
from training.progress import progress
from training.sessions import NEXT, REST, SampleMaker
from training.text_model import text_model_of

SIMULATED: Final = ("searches", "order within a basket", "hints and clicks")


def build_dataset(out: Path, config: DatasetConfig = WHOLE_JOURNEY, *, fresh: bool = False) -> Dataset:
    """Make what is missing or out of date in the folder `out`, all of it if `fresh`. Raises DatasetError."""
    return _Build(out, config, {} if fresh else about_of(out)).run()


class _Build:
    """One build; `about` is what dataset.json will say."""

    def __init__(self, folder: Path, config: DatasetConfig, previous: dict[str, Any]) -> None:
        self.folder, self.config = folder, config
        self.about: dict[str, Any] = {
            "format": FORMAT,
            "complete": False,
            "source": config.source(),
            "seed": config.seed,
            "households": config.households,
            "simulated": [] if config.log else list(SIMULATED),
            "interface": config.interface(),
            "k_anonymity": config.k,
            "spans": {},
            "files": previous.get("files", {}),
            "counts": previous.get("counts", {}),
        }

    def run(self) -> Dataset:
        """Part after part."""
        self.folder.mkdir(parents=True, exist_ok=True)
        bought = [PURCHASES, *OF_A_LOG] if self.config.log else [PURCHASES]
        self._part(bought, [self.about["source"], self.config.households], self._purchases)
        purchases = pl.read_parquet(self.folder / PURCHASES)
        split = split_of(purchases, self.config)
        spans = self.about["spans"] = {part: list(span) for part, span in zip(PARTS, split, strict=True)}
        inputs: list[Any] = [self._hash(PURCHASES), spans]
        learnt = until(purchases, split.train)
        self._part([LEXICON, TOKENIZER, TABLE], inputs + self.config.taught(), partial(self._words, learnt))
        inputs += [*(self._hash(name) for name in (LEXICON, TOKENIZER, TABLE)), self.config.seed]
        inputs += [self._hash(name) for name in bought[1:]]
        for part, span in zip(PARTS, split, strict=True):
            self._part([samples_name(part)], inputs, partial(self._samples, part, span, purchases))
        inputs += [self.about["source"], self.about["interface"]]
        inputs += [self._hash(samples_name(part)) for part in PARTS]
        self._part([IMPRESSIONS], inputs, partial(self._impressions, purchases, split))
        self._save(complete=True)
        return load_dataset(self.folder)

    def _part(self, names: list[str], inputs: list[Any], make: Callable[[], dict[str, Any]]) -> None:
        """Make the files unless they are there, made of the same inputs."""
        key = hashlib.sha256(orjson.dumps([FORMAT, CODE_VERSION, names, inputs])).hexdigest()
        files = self.about["files"]
        if all(files.get(name, {}).get("inputs") == key and self._is_whole(name) for name in names):
            return
        self._save(complete=False)
        self.about["counts"][names[0].split(".")[0]] = make()
        for name in names:
            path = self.folder / name
            files[name] = {"sha256": sha256_of(path), "bytes": path.stat().st_size, "inputs": key}
        self._save(complete=False)

    def _is_whole(self, name: str) -> bool:
        path = self.folder / name
        return path.is_file() and sha256_of(path) == self._hash(name)

    def _hash(self, name: str) -> str:
        return str(self.about["files"][name]["sha256"])

    def _save(self, *, complete: bool) -> None:
        self.about["complete"] = complete
        pretty = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        with replaced(self.folder / ABOUT) as unfinished:
            unfinished.write_bytes(orjson.dumps(self.about, option=pretty))

    @cached_property
    def _log(self) -> ShopLog | None:
        if self.config.log is None:
            return None
        erased = read_erased(self.config.erased) if self.config.erased is not None else None
        return read_shop_log(self.config.log, erased=erased)

    def _purchases(self) -> dict[str, Any]:
        purchases = load_purchases() if self._log is None else self._log.purchases
        purchases = first_households(purchases, self.config.households)
        self._write(PURCHASES, purchases)
        counts: dict[str, Any] = {"rows": purchases.height}
        for name, column in (("baskets", "basket_id"), ("households", "household_id"), ("phrases", "phrase")):
            counts[name] = purchases[column].n_unique()
        if self._log is not None:
            behaviours = self._log.behaviours.filter(_who_buys(purchases))
            self._write(BEHAVIOURS, behaviours)
            self._write(COUNTED_SEARCHES, self._log.counted)
            rules = no_results_rules(self._log.counted)
            self._write_bytes(NO_RESULTS_RULES, b"".join(rule.to_json() + b"\n" for rule in rules))
            counts["no_results"] = len(rules)
            counts["searches"] = behaviours.filter(pl.col("action") == ACTION_CODES[Action.SEARCH]).height
            counts["log"] = self._log.use.as_dict()
        return counts

    def _words(self, purchases: pl.DataFrame) -> dict[str, Any]:
        untaught = self._teachable().left_out(purchases, self._searched())
        purchases = untaught.taught(purchases)
        check_enough(purchases)
        words = text_model_of(purchases, self._texts(purchases))
        table = io.BytesIO()
        np.save(table, words.table, allow_pickle=False)
        raw = {LEXICON: format_lexicon(words.lexicon), TOKENIZER: words.tokenizer, TABLE: table.getvalue()}
        for name, content in raw.items():
            self._write_bytes(name, content)
        return {"queries": len(words.lexicon), "tokens": len(words.table), "left_out": untaught.counts()}

    def _teachable(self) -> Teachable:
        deny, nothing = self.config.deny, frozenset[str]()
        if self.config.log is not None:
            counted = pl.read_parquet(self.folder / COUNTED_SEARCHES)
            nothing = frozenset(found_nothing(counted, self.about["spans"]["train"][1]))
        return Teachable(self.config.k, NO_RULES if deny is None else read_deny_file(deny), nothing)

    def _searched(self) -> pl.DataFrame | None:
        """A log's own behaviours of the same time."""
        if self.config.log is None:
            return None
        behaviours = pl.read_parquet(self.folder / BEHAVIOURS)
        return behaviours.filter(pl.col("at_ms") < self.about["spans"]["train"][1])

    def _texts(self, purchases: pl.DataFrame) -> list[str]:
        """All phrases and categories whose words are to be known; a shop's own log names them itself."""
        named = load_phrases() if self.config.log is None else purchases
        return [*named["phrase"].unique().sort(), *named["category_phrase"].unique().sort()]

    def _impressions(self, purchases: pl.DataFrame, split: Split) -> dict[str, Any]:
        if self._log is None:
            shown = self._simulated(purchases, Span(split.train.start_ms, split.test.end_ms))
        else:
            shown = _numbered(self._log.impressions.filter(_who_buys(purchases)), list(self._numbers()))
        self._write(IMPRESSIONS, shown)
        return {"rows": shown.height, "clicks": int(shown["clicked"].sum())}

    def _simulated(self, purchases: pl.DataFrame, span: Span) -> pl.DataFrame:
        config, queries = self.config, list(self._numbers())
        with progress("impressions", purchases["basket_id"].n_unique()) as report:
            return impressions(
                purchases,
                queries,
                span,
                seed=config.seed,
                amid=self._amid(),
                policy=config.policy,
                clicks=config.clicks,
                report=report,
            )

    def _amid(self) -> dict[int, tuple[int, ...]]:
        """What was still to come in the baskets that have a sample in their middle."""
        samples = [one for part in PARTS for one in load_samples(self.folder / samples_name(part)).samples]
        return {one.basket_id: one.items for one in samples if one.task == REST}

    def _samples(self, part: str, span: Span, purchases: pl.DataFrame) -> dict[str, Any]:
        encoder = SubwordEncoder.load(self.folder / TOKENIZER, self.folder / TABLE)
        honest = part != "train"
        opened = True if honest else None
        seed = self.config.seed
        maker = SampleMaker(encoder, self._numbers(), span, honest=honest, opened=opened, seed=seed)
        behaviours = pl.read_parquet(self.folder / BEHAVIOURS) if self.config.log else None
        samples = make_samples(maker, until(purchases, span), f"samples, {part}", behaviours)
        save_samples(samples, self.folder / samples_name(part))
        tasks = [sample.task for sample in samples.samples]
        return {"next_basket": tasks.count(NEXT), "rest_of_basket": tasks.count(REST)}

    def _write(self, name: str, frame: pl.DataFrame) -> None:
        with replaced(self.folder / name) as unfinished:
            frame.write_parquet(unfinished)

    def _write_bytes(self, name: str, content: bytes) -> None:
        with replaced(self.folder / name) as unfinished:
            unfinished.write_bytes(content)

    def _numbers(self) -> dict[str, int]:
        queries = parse_lexicon((self.folder / LEXICON).read_bytes())
        return {query: number for number, query in enumerate(queries)}


def _who_buys(purchases: pl.DataFrame) -> pl.Expr:
    """Whether a row's household is one of these purchases'."""
    return pl.col("household_id").is_in(purchases["household_id"].unique().to_list())


def _numbered(shown: pl.DataFrame, queries: Sequence[str]) -> pl.DataFrame:
    """With the lexicon's numbers; null for a query that the lexicon lacks."""
    lexicon = pl.DataFrame(
        {"query": list(queries), "number": range(len(queries))}, {"query": pl.String, "number": pl.Int64}
    )
    return shown.join(lexicon, on="query", how="left", maintain_order="left").select(list(IMPRESSION_COLUMNS))

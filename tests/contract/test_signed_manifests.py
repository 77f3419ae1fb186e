"""Signed bundles and mappings: with trusted keys set, nothing else is taken, and what runs stays."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from agents.bundle_watch import fingerprint
from agents.hints.bundle import load_encoder, verify_bundle
from agents.serving import open_bundle
from agents.think.agent import ThinkAgent
from agents.think.mapping import LoadOptions, LoadOutcome, load_mapping, stage_mapping
from agents.think.stored import read_pointer
from aigq.main import app
from streams.errors import BundleError, MappingError, SettingsError
from streams.metrics import Metrics
from streams.settings import load_settings
from streams.signatures import SigningKey, create_signing_key, load_signing_key, verify
from streams.signed_manifests import sign_manifest, trusted_keys
from tests.mapping_folders import write_version
from tests.redis_databases import empty_database

SHIPPED = Path("exported_models/complete-journey")


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return create_signing_key(tmp_path / "signing.key")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "complete-journey"))


def command(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env=environ)


def test_a_key_is_written_for_its_owner_alone_and_read_again(tmp_path: Path) -> None:
    made = create_signing_key(tmp_path / "new" / "key")
    assert (tmp_path / "new" / "key").stat().st_mode & 0o777 == 0o600
    again = load_signing_key(tmp_path / "new" / "key")
    assert (again.key_id, again.public_text) == (made.key_id, made.public_text)
    assert verify(b"data", again.sign(b"data"), made.public_text)
    assert made.key_id in repr(made)


def test_a_key_is_never_written_over_another(tmp_path: Path) -> None:
    create_signing_key(tmp_path / "key")
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(SettingsError):
        create_signing_key(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before


@pytest.mark.parametrize("content", [None, b"", b"no key", b"AAAA"])
def test_what_is_no_key_is_a_settings_error(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(SettingsError, match="no signing key"):
        load_signing_key(tmp_path / "key")


@given(st.binary(max_size=80), st.text(max_size=60))
def test_any_signature_and_any_key_are_judged_without_an_exception(signature: bytes, public: str) -> None:
    assert verify(b"data", signature, public) is False


def test_a_signature_is_of_these_bytes_and_this_key_alone(tmp_path: Path, key: SigningKey) -> None:
    other = create_signing_key(tmp_path / "other")
    signature = key.sign(b"data")
    assert verify(b"data", signature, key.public_text)
    assert not verify(b"data.", signature, key.public_text)
    assert not verify(b"data", signature, other.public_text)


def test_without_trusted_keys_a_bundle_needs_no_signature(bundle: Path) -> None:
    assert load_encoder(bundle)[1]


def test_a_signed_bundle_is_taken_by_whoever_trusts_its_key(bundle: Path, key: SigningKey) -> None:
    sign_manifest(bundle / "manifest.json", key)
    assert load_encoder(bundle, (key.public_text,))[1]
    assert verify_bundle(bundle, (key.public_text,)) == []


def unsigned(_bundle: Path, _key: SigningKey, _tmp: Path) -> None:
    pass


def by_a_stranger(bundle: Path, _key: SigningKey, tmp: Path) -> None:
    sign_manifest(bundle / "manifest.json", create_signing_key(tmp / "stranger"))


def changed_after(bundle: Path, key: SigningKey, _tmp: Path) -> None:
    sign_manifest(bundle / "manifest.json", key)
    manifest = orjson.loads((bundle / "manifest.json").read_bytes())
    (bundle / "manifest.json").write_bytes(orjson.dumps(manifest | {"created": "2099-01-01"}))


def torn(bundle: Path, key: SigningKey, _tmp: Path) -> None:
    path = sign_manifest(bundle / "manifest.json", key)
    path.write_bytes(path.read_bytes()[:40])


def by_a_stranger_under_our_name(bundle: Path, key: SigningKey, tmp: Path) -> None:
    path = sign_manifest(bundle / "manifest.json", create_signing_key(tmp / "stranger"))
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | {"key_id": key.key_id}))


@pytest.mark.parametrize("how", [unsigned, by_a_stranger, changed_after, torn, by_a_stranger_under_our_name])
def test_any_other_bundle_is_refused(bundle: Path, key: SigningKey, tmp_path: Path, how: Any) -> None:
    how(bundle, key, tmp_path)
    with pytest.raises(BundleError, match="refused"):
        load_encoder(bundle, (key.public_text,))
    (finding,) = verify_bundle(bundle, (key.public_text,))
    assert "sign" in finding


def test_a_worker_of_these_settings_takes_only_a_signed_bundle(
    bundle: Path, key: SigningKey, tmp_path: Path
) -> None:
    trusted = tmp_path / "trusted"
    trusted.write_text(f"# of the build machine\n{key.public_text} build\n\n")
    settings = load_settings({}, bundle_dir=bundle, trusted_keys_file=trusted)
    before = fingerprint(bundle)
    with pytest.raises(BundleError, match="not signed"):
        open_bundle(settings)
    sign_manifest(bundle / "manifest.json", key)
    assert open_bundle(settings).name
    assert fingerprint(bundle) != before, "a signature that comes later is looked at"


@pytest.mark.parametrize("content", [None, "no key\n", "AAAA\n"])
def test_a_file_of_keys_that_is_none_is_a_settings_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "trusted").write_text(content)
    with pytest.raises(SettingsError, match="AIGQ_TRUSTED_KEYS_FILE"):
        trusted_keys(load_settings({}, trusted_keys_file=tmp_path / "trusted"))


def test_an_unsigned_mapping_is_refused_and_the_served_one_stays(
    redis_url: str, tmp_path: Path, key: SigningKey
) -> None:
    url = empty_database(redis_url, 7)
    options = LoadOptions(trusted=(key.public_text,))
    root = tmp_path / "mappings"

    async def run() -> str:
        async with redis.asyncio.Redis.from_url(url) as client:
            sign_manifest(write_version(root, {"milk": ["bread"]}, version="v1") / "manifest.json", key)
            assert (await load_mapping(client, root, options)).outcome is LoadOutcome.LOADED
            write_version(root, {"milk": ["oats"]}, version="v2")
            for load in (load_mapping(client, root, options), stage_mapping(client, root, "v2", options)):
                with pytest.raises(MappingError, match="not signed"):
                    await load
            # Somebody who trusts everybody brought it to Redis: it is not followed all the same.
            await stage_mapping(client, root, "v2")
            with pytest.raises(MappingError, match="not signed"):
                await load_mapping(client, root, options)
            pointer = await read_pointer(client)
            return pointer.version if pointer else ""

    assert asyncio.run(run()) == "v1"


def test_the_think_agent_says_why_it_loads_nothing(redis_url: str, tmp_path: Path, key: SigningKey) -> None:
    url = empty_database(redis_url, 7)
    root, trusted = tmp_path / "mappings", tmp_path / "trusted"
    folder = write_version(root, {"milk": ["bread"]}, version="v1")

    async def problems() -> list[str]:
        settings = load_settings({}, redis_url=url, think_dir=root, trusted_keys_file=trusted)
        found = []
        async with redis.asyncio.Redis.from_url(url) as client:
            agent = ThinkAgent(settings, client, Metrics())
            for step in (lambda: None, lambda: trusted.write_text(key.public_text), sign):
                step()
                await agent.load()
                found.append(agent.problem)
        return found

    def sign() -> None:
        sign_manifest(folder / "manifest.json", key)

    no_file, no_signature, all_well = asyncio.run(problems())
    assert "AIGQ_TRUSTED_KEYS_FILE" in no_file
    assert "not signed" in no_signature
    assert all_well == ""


def test_the_commands_make_a_key_sign_and_verify(bundle: Path, tmp_path: Path) -> None:
    key_file, trusted = tmp_path / "keys" / "signing.key", tmp_path / "trusted"
    made = orjson.loads(command("keys", "new", str(key_file), "--json").stdout)
    shown = command("keys", "show", str(key_file)).stdout
    assert made["public_key"] in shown
    trusted.write_text(shown)
    environ = {"AIGQ_TRUSTED_KEYS_FILE": str(trusted)}
    assert command("bundle", "verify", str(bundle), **environ).exit_code == BundleError.exit_code
    done = command("sign", str(bundle), "--json", AIGQ_SIGNING_KEY_FILE=str(key_file))
    assert orjson.loads(done.stdout)["key_id"] == made["key_id"]
    assert command("bundle", "verify", str(bundle), **environ).exit_code == 0


def test_lint_wants_a_signature_where_keys_are_trusted(tmp_path: Path, key: SigningKey) -> None:
    folder = write_version(tmp_path / "mappings", {"milk": ["bread"]}, version="v1")
    (tmp_path / "trusted").write_text(key.public_text)
    environ = {"AIGQ_TRUSTED_KEYS_FILE": str(tmp_path / "trusted")}

    def names() -> set[str]:
        done = command("think", "lint", str(folder.parent), "--json", **environ)
        return {one["name"] for one in orjson.loads(done.stdout)["findings"]}

    assert "signature" in names()
    sign_manifest(folder / "manifest.json", key)
    assert "signature" not in names()


def test_what_differs_from_its_manifest_is_not_signed(bundle: Path, tmp_path: Path, key: SigningKey) -> None:
    with (bundle / "lexicon.tsv").open("ab") as file:
        file.write(b"beer\t1\n")
    done = command("sign", str(bundle), "--key", str(tmp_path / "signing.key"))
    assert isinstance(done.exception, BundleError)
    assert "lexicon.tsv" in done.exception.message
    assert not (bundle / "manifest.json.sig").exists()
    assert key.key_id


def test_signing_without_a_key_says_which_to_name(bundle: Path) -> None:
    done = command("sign", str(bundle))
    assert isinstance(done.exception, SettingsError)
    assert "AIGQ_SIGNING_KEY_FILE" in done.exception.action

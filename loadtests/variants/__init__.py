"""What is compared under one service code: four releases that differ in what they know of a user, and in nothing else.

variant          stored per user                 stored per item          network
dcn              its row                         folded row               DCN over the fields
userip           its row and two codes           folded row               the same, with a field per code
kar-online       its row and a text's vector     folded row and vector    the same, with KAR's adaptor in the graph
kar-prestored    its row and a_user              folded row with a_item   no adaptor in the graph

All have the same fields otherwise, a table per user among them, the same widths and the same folding; the two
branches of the adaptor share no input, so the last two give the same scores. Times do not depend on what the
weights and vectors are: they are random, as wide as the defaults of training and of MiniLM.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from userip.loadtests.errors import BenchInputError
from userip.loadtests.variants.networks import FACETS, Built, build_dcn, build_kar, digest_of
from userip.loadtests.variants.oracle import Oracle
from userip.loadtests.variants.shop import Shop, dataset_shop, synthetic_shop
from userip.loadtests.variants.writing import write_variant
from userip.models.recommenders.kar_graph import kar_online_onnx, kar_prestored_onnx
from userip.release.errors import ReleaseError
from userip.release.manifest import FORMAT_VERSION, read_manifest
from userip.training.progress import track
from userip.training.threads import one_thread

KAR: Final = {"kar-online": kar_online_onnx, "kar-prestored": kar_prestored_onnx}
NAMES: Final = ("dcn", "userip", *KAR)


@dataclass(frozen=True)
class Variant:
    """A release directory, and the torch network behind it: `oracle.scores(user_id, item_ids)` float32 [n]."""

    name: str
    release: Path
    oracle: Oracle


def build_variants(
    dataset: Path | None,
    out: Path,
    names: Sequence[str] = NAMES,
    seed: int = 0,
    *,
    users: int = 20_000,
    items: int = 10_000,
) -> dict[str, Variant]:
    """Write OUT/NAME for every name; the same arguments give the same releases, and a finished one is kept.

    Ids and fields are those of the data set directory `dataset`; without one, of a synthetic shop of so many
    `users` and `items`. Raises BenchInputError for a name that is none, DataError for no data set directory.
    """
    if unknown := [name for name in names if name not in NAMES]:
        raise BenchInputError(f"variant {unknown[0]!r}: there are {', '.join(NAMES)}")
    shop = dataset_shop(dataset, seed) if dataset else synthetic_shop(users, items, seed)
    out.mkdir(parents=True, exist_ok=True)
    networks: dict[str, Built] = {}
    variants = {}
    with one_thread():
        for name in track(names, label="variants"):
            kind = "kar" if name in KAR else name
            if kind not in networks:
                networks[kind] = build_kar(shop, seed) if kind == "kar" else build_dcn(shop, seed, codes=name != "dcn")
            variants[name] = Variant(
                name, _release(out / name, name, shop, networks[kind], seed), networks[kind].oracle
            )
    return variants


def _release(directory: Path, name: str, shop: Shop, built: Built, seed: int) -> Path:
    """Write the release unless the very same one is there, whole."""
    recipe = {"variant": name, "shop": shop.name, "seed": seed, "format": FORMAT_VERSION, "weights": digest_of(built)}
    try:
        if read_manifest(directory).method.get("recipe") == recipe:
            return directory
    except ReleaseError:  # none, an unfinished or a damaged one
        pass
    shutil.rmtree(directory, ignore_errors=True)
    write_variant(directory, name, shop, built, recipe, graph=KAR.get(name))
    return directory


__all__ = ["FACETS", "KAR", "NAMES", "Oracle", "Variant", "build_variants"]

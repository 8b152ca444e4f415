"""Stage 5: training embeddings -> pseudo labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spkssl.errors import choose, complain
from spkssl.io import markers
from spkssl.stages.run_folder import before, embeddings_of, folder_options, labels_of
from spkssl.stages.settings import Settings, settings_options
from spkssl.stages.stage import Run, made_by, marker, once, require, run_options, say

if TYPE_CHECKING:
    from spkssl.cluster import ClusterConfig
    from spkssl.cluster.pipeline import Clustering
    from spkssl.settle import Replaced


@click.command()
@settings_options
@run_options
@folder_options
@click.option("--at", default="pretrain", show_default=True, help="Whose embeddings: pretrain or round<r>.")
@click.option("--set-name", help="The data directory that was embedded (default: the YAML's data.train, or train).")
@click.option("--cluster", "name", help="One of kmeans, ahc, kmeans_ahc, graph, spectral, hdbscan, pic.")
@click.option("--num-clusters", "number", help="How many, or auto.")
@click.option(
    "--keep",
    is_flag=True,
    help="Leave labels that are there as they were made, or make them so again where their embeddings changed, unless "
    "--cluster, --num-clusters or --set cluster... asks for a clustering.",
)
def cluster(
    settings: Settings,
    run: Run,
    exp: Path,
    data: Path,
    at: str,
    set_name: str | None,
    name: str | None,
    number: str | None,
    keep: bool,
) -> None:
    """Stage 5: training embeddings -> labels/utt2cluster, centroids.npy and info.json. True labels are never read."""
    set_name = set_name or settings.section("data").get("train", "train")
    scp, labels = embeddings_of(exp, at, set_name), labels_of(exp, at)
    section, replaced, unused = clustering_of(settings, name, number)
    if unused:
        click.echo(unused)
    earlier, mark = _earlier(exp, at), marker(exp, "cluster", at)
    if keep and mark.exists() and not (name or number):
        made, asked = markers.read(mark).get("settings"), _set_by_hand(settings)
        if not made or (labels.exists() and not scp.exists() and not asked):
            why = "the embeddings they were made from are gone" if made else "nothing tells how they were made"
            say(f"{labels}: kept, though {why}; stages 4 and 5 make them anew")
            return
        if not asked:
            section, settings = made["cluster"], settings.over(f"seed={made['seed']}")

    def check() -> None:
        require([scp], f"run stage 4 (extract) first: {at}")
        built_clustering(section, settings)

    def work() -> dict[str, Any]:
        for each in [] if name else replaced:
            say(str(each))
        return _work(section, settings, at, scp, labels, earlier)

    once(
        run,
        f"cluster {at}",
        mark,
        settings={"cluster": section, "seed": settings.seed},
        inputs=[scp, *made_by(exp, "extract", at, set_name), *earlier],
        outputs=[labels, labels.with_name("centroids.npy"), labels.with_name("info.json")],
        work=work,
        check=check,
        log=exp / at / "log" / "cluster.log",
    )


def _set_by_hand(settings: Settings) -> bool:
    return any(setting.partition("=")[0].split(".")[0] == "cluster" for setting in settings.overrides)


def clustering_of(
    settings: Settings, name: str | None, number: str | None
) -> tuple[dict[str, Any], list[Replaced], str]:
    """The plain section with --cluster and --num-clusters in it; what --set replaced; what to say of an unused number.

    An InputError where --cluster is unknown or --num-clusters no number; the rest is `built_clustering`'s matter.
    """
    from spkssl.cluster import ClusterConfig

    settled, replaced = settings.settle(ClusterConfig, "cluster")
    section, unused = _section(settled, name, number, _algorithm(settings.file.get("cluster")))
    return section, replaced, unused


def _algorithm(section: Any) -> Any:
    """Name of the algorithm in a plain section `cluster`, where it may be written alone; kmeans where there is none."""
    found = section.get("algorithm") if isinstance(section, Mapping) else None
    return (found.get("name") if isinstance(found, Mapping) else found) or "kmeans"


def _section(
    section: dict[str, Any], name: str | None, number: str | None, of_file: Any
) -> tuple[dict[str, Any], str]:
    """The settled section with the flags in it; settings of another algorithm do not fit the one that is named.

    `of_file`: the algorithm that the YAML names. Where --set or a flag takes another, the YAML's number may not apply.
    """
    from spkssl.cluster import AUTO, CLUSTERERS, takes_number

    now, unused = _algorithm(section), ""
    if name and choose("--cluster", name, CLUSTERERS) != now:
        section, now = {**section, "algorithm": {"name": name}}, name
    other = now != of_file and isinstance(now, str) and now in CLUSTERERS
    if other and not number and section.get("num_clusters", AUTO) != AUTO and not takes_number(CLUSTERERS[now][0]()):
        unused = f"{now} finds the number of clusters itself: num_clusters {section['num_clusters']} is not used"
        section = {**section, "num_clusters": AUTO}
    if number:
        section = {**section, "num_clusters": _number(number)}
    return section, unused


def _number(text: str) -> int | str:
    if text == "auto" or text.isdigit():
        return text if text == "auto" else int(text)
    raise complain("--num-clusters", f"expected a whole number or auto, got {text!r}")


def _earlier(exp: Path, at: str) -> list[Path]:
    """The labels of the round before, where there are any."""
    if not at.removeprefix("round").isdigit():
        return []
    path = labels_of(exp, before(int(at.removeprefix("round"))))
    return [path] if path.exists() else []


def built_clustering(section: dict[str, Any], settings: Settings) -> ClusterConfig:
    """The typed section; an InputError also where the algorithm cannot be told the number that it is told."""
    from spkssl import config
    from spkssl.cluster import AUTO, ClusterConfig, make_clusterer

    built = config.build(ClusterConfig, section, f"{settings.source}: cluster")
    if built.num_clusters != AUTO:
        make_clusterer(built.algorithm, built.num_clusters)
    return built


def _work(
    section: dict[str, Any], settings: Settings, at: str, scp: Path, labels: Path, earlier: list[Path]
) -> dict[str, Any]:
    from spkssl import rng
    from spkssl.cluster.labels import write_labels
    from spkssl.cluster.pipeline import cluster as run_clustering
    from spkssl.cluster.report import describe, summary
    from spkssl.io.ark import read_vectors
    from spkssl.io.atomic import write_json

    built = built_clustering(section, settings)
    utts, x = read_vectors(scp)
    found: Clustering = run_clustering(x, built, rng.numpy(settings.seed, "cluster", at))
    info = describe(found, built, utts, rng.numpy(settings.seed, "stability", at), earlier[0] if earlier else None)
    write_labels(labels, utts, found.labels)
    _save(labels.with_name("centroids.npy"), found.centroids)
    write_json(labels.with_name("info.json"), {"at": at, "seed": settings.seed, **info})
    say(summary(info))
    return {key: info[key] for key in ("utts", "left_out", "num_clusters")}


def _save(path: Path, array: Any) -> None:
    import numpy as np

    from spkssl.io.atomic import open_atomic

    with open_atomic(path, "wb") as file:
        np.save(file, array)

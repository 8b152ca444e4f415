"""Stage 6, after each round: is another one worth it? Decided from what the rounds left behind, never from labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from spkssl import config
from spkssl.errors import complain
from spkssl.stages.run_folder import before, folder_options, labels_of, round_name
from spkssl.stages.settings import Settings, settings_options
from spkssl.stages.stage import Run, made_by, marker, once, require, run_options, say
from spkssl.training.rounds import RoundFacts, RoundStopConfig, decide


@click.command()
@settings_options
@run_options
@folder_options
@click.option("--round", "number", type=click.IntRange(1), required=True, help="The round that was just clustered.")
def stop(settings: Settings, run: Run, exp: Path, data: Path, number: int) -> None:
    """Stage 6: what round R says of itself -> <exp>/round<r>/stop.json, by the rule in retrain.stop.

    `spkssl rounds` then tells how many rounds there are to be. True labels are never read.
    """
    rule = rule_of(settings)
    at, old = round_name(number), before(number)
    labels = [labels_of(exp, old), labels_of(exp, at)]
    infos = [path.with_name("info.json") for path in labels]
    tables = [path for name in (old, at) if (path := exp / name / "utterances.npz").exists()]
    made = [mark for name in (old, at) for mark in made_by(exp, "cluster", name)]

    def check() -> None:
        require([*labels, *infos], "run the rounds up to this one, with their clustering (stages 5 and 6)")

    def work() -> dict[str, Any]:
        return _work(rule, settings, exp, number)

    once(
        run,
        f"stop {at}",
        marker(exp, "stop", at),
        settings={"stop": config.to_dict(rule)},
        inputs=[*labels, *infos, *tables, *made],
        outputs=[decision_of(exp, number)],
        work=work,
        check=check,
        log=exp / at / "log" / "stop.log",
    )


def rule_of(settings: Settings) -> RoundStopConfig:
    section = settings.section("retrain").get("stop") or {}
    rule = config.build(RoundStopConfig, section, f"{settings.source}: retrain.stop")
    if rule.rule == "acceptance":
        _require_own_share(settings)
    return rule


def _require_own_share(settings: Settings) -> None:
    """An InputError where the share of labels that pass the gate is set and not found: it tells nothing of them."""
    from spkssl.stages.system import build_system

    gate = getattr(build_system(settings).retrain.method, "gate", None)
    if gate in ("none", "rate"):
        what = f"rule acceptance cannot judge by gate {gate}, which passes a share that is set beforehand"
        do = "choose another rule, or a gate that finds the share: threshold or gmm"
        raise complain(f"{settings.source}: retrain.stop", what, do)


def decision_of(exp: Path, number: int) -> Path:
    return exp / round_name(number) / "stop.json"


def _work(rule: RoundStopConfig, settings: Settings, exp: Path, number: int) -> dict[str, Any]:
    from spkssl.io.atomic import write_json

    history = [RoundFacts()] * (number - 1) + [_facts(exp, number - 1), _facts(exp, number)]
    try:
        found = decide(rule, history)
    except ValueError as error:
        what = f"rule {rule.rule} needs the {error} of {round_name(number)} and of what came before"
        do = "choose another retrain.stop.rule; only methods with a gate have a share accepted"
        raise complain(f"{settings.source}: retrain.stop", what, do) from None
    decision = "stop" if found.stop else "go"
    write_json(
        decision_of(exp, number),
        {
            "round": number,
            "decision": decision,
            "why": found.why,
            "values": config.to_dict(history[-1]),
            "before": config.to_dict(history[-2]),
            "rule": config.to_dict(rule),
        },
    )
    say(f"{round_name(number)}: {'no further round' if found.stop else 'may go on'}: {found.why}")
    return {"decision": decision}


def _facts(exp: Path, number: int) -> RoundFacts:
    """What a round left on disk; 0 is the pretraining, which has no gate and no labels before it."""
    from spkssl.report.gating import Trained, gate_row

    at = round_name(number) if number else before(1)
    labels = labels_of(exp, at)
    quality = _quality(labels.with_name("info.json"))
    if not number:
        return RoundFacts(silhouette=quality.get("silhouette"), margin=quality.get("margin"))
    given = labels_of(exp, before(number))
    gate = gate_row(Trained(exp / at / "utterances.npz", exp / at / "metrics.jsonl", given))
    nmi, ari = _agreement(given, labels)
    accepted = gate["accepted"] if gate else None
    return RoundFacts(nmi, ari, accepted, quality.get("silhouette"), quality.get("margin"))


def _quality(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("quality") or {}
    except json.JSONDecodeError as error:
        raise complain(path, f"is not valid JSON ({error})", "run stage 5 (cluster) again") from None


def _agreement(old: Path, new: Path) -> tuple[float | None, float | None]:
    """NMI and ARI of two label files on the utterances that have a label in both."""
    import numpy as np

    from spkssl.cluster.labels import LEFT_OUT, read_labels
    from spkssl.metrics.clusters import ari, nmi
    from spkssl.metrics.contingency import contingency

    first, second = read_labels(old), read_labels(new)
    both = np.array([(first.get(utt, LEFT_OUT), label) for utt, label in second.items()]).reshape(-1, 2)
    both = both[(both != LEFT_OUT).all(axis=1)]
    if not len(both):
        return None, None
    table = contingency(both[:, 0], both[:, 1])
    return nmi(table), ari(table)

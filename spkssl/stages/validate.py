"""`spkssl validate`: are these data directories sound? With --fix, make them so as far as that can be done safely."""

from __future__ import annotations

from pathlib import Path

import click

from spkssl.errors import InputError, complain
from spkssl.io.fix import fix as repair
from spkssl.io.validate import Rules, examine, overlap
from spkssl.stages.stage import DIRECTORY, say


@click.command()
@click.argument("directories", nargs=-1, required=True, type=DIRECTORY)
@click.option("--fix", is_flag=True, help="Sort, drop duplicates, keep what all files agree on; originals: .backup.")
@click.option("--feats/--no-feats", default=True, show_default=True, help="Require feats.scp.")
@click.option("--text/--no-text", default=False, show_default=True, help="Require transcripts.")
@click.option("--wav/--no-wav", default=True, show_default=True, help="Require wav.scp.")
@click.option("--spk-sort/--no-spk-sort", default=True, show_default=True, help="Require sorting by speaker too.")
@click.option("--allow-pipes", is_flag=True, help="Accept piped commands in wav.scp.")
@click.option("--kaldi", is_flag=True, help="Ask only what Kaldi's validate_data_dir.sh asks.")
@click.option("--disjoint-from", type=DIRECTORY, multiple=True, help="A set that may share no speaker with these.")
def validate(
    directories: tuple[Path, ...],
    fix: bool,
    feats: bool,
    text: bool,
    wav: bool,
    spk_sort: bool,
    allow_pipes: bool,
    kaldi: bool,
    disjoint_from: tuple[Path, ...],
) -> None:
    """Check data directories, one line for each defect; exit 2 unless all are valid."""
    rules = Rules(feats=feats, text=text, wav=wav, spk_sort=spk_sort, strict=not kaldi, allow_pipes=allow_pipes)
    problems: list[str] = []
    for directory in directories:
        if fix:
            _fix(directory, spk_sort, problems)
        report = examine(directory, rules)
        for remark in report.remarks:
            click.echo(f"spkssl: warning: {remark}", err=True)
        found = report.problems
        if not found:
            found = [problem for other in disjoint_from for problem in overlap(directory, other)]
        if not found:
            say(f"{directory}: valid")
        problems.extend(problem for problem in found if problem not in problems)
    if len(problems) == 1:
        raise InputError(problems[0])
    if problems:
        for problem in problems:
            click.echo(f"spkssl: error: {problem}", err=True)
        raise complain(" ".join(map(str, directories)), f"{len(problems)} problems, listed above")


def _fix(directory: Path, spk_sort: bool, problems: list[str]) -> None:
    """Repair one directory; what cannot be repaired joins the problems."""
    try:
        done = repair(directory, spk_sort=spk_sort)
    except InputError as error:
        problems.append(str(error))
        return
    if done.changed:
        wrote = f"wrote {' '.join(done.changed)} (originals in {directory / '.backup'})"
        say(f"{directory}: kept {done.kept} of {done.total} utterances; {wrote}")

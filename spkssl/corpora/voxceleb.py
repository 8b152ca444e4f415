"""VoxCeleb as data directories: VoxCeleb2's development part to train, its test part to choose, VoxCeleb1 to test.

The training set carries no labels: its ids are opaque, every utterance is its own speaker, and what is known about it
lies in `ref/`, which training never reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from spkssl import rng
from spkssl.audio.forecast import Forecast
from spkssl.audio.read import info
from spkssl.contract import SAMPLE_RATE
from spkssl.corpora.decode import FORMATS, decode, require_ffmpeg
from spkssl.corpora.sets import by_opaque, write_set, write_truth
from spkssl.corpora.voxceleb_layout import LISTS, Count, Utt, find_vox1, find_vox2
from spkssl.corpora.voxceleb_trials import draw_trials, read_list, require_known
from spkssl.errors import choose, complain, some
from spkssl.io.tables import write_table
from spkssl.io.trials import Trials, write_trials

QUARANTINE = "quarantine.prepare"


@dataclass(frozen=True)
class Voxceleb:
    """Where the corpora are and what to make of them."""

    vox1: Path
    vox2: Path
    lists: Path
    out: Path  # of the data directories
    audio: Path | None  # of decoded VoxCeleb2; None: the m4a files are read directly
    suffix: str  # of decoded audio: wav or flac
    trials: tuple[str, ...]  # names of LISTS
    expected: Mapping[str, Count]
    quarantine: bool = False  # go on without training and development recordings that cannot be decoded
    seed: int = 0  # of the development trials
    nj: int = 1


def prepare(
    config: Voxceleb,
    say: Callable[[str], object] = lambda text: None,
    advance: Callable[[int], object] = lambda files: None,
) -> dict[str, int]:
    """Write `out/{train,dev,test}`; returns the number of utterances of each.

    Everything is looked at before anything is decoded. Decoded files are kept when the call is given again.
    """
    for name in config.trials:
        choose("--trials", name, LISTS)
    if config.suffix not in FORMATS:
        choose("--format", config.suffix, FORMATS)
    require_ffmpeg()  # to read m4a directly as well
    lists = {name: read_list(config.lists, name, config.expected) for name in config.trials}
    with_dev = any(not name.startswith("vox1-o") for name in config.trials)
    sources = {
        "train": find_vox2(config.vox2, "dev", config.expected),
        "dev": find_vox2(config.vox2, "test", config.expected),
        "test": find_vox1(config.vox1, config.expected, with_dev),
    }
    _require_apart({name: {utt.speaker for utt in found} for name, found in sources.items()})
    by_name = {utt.name: path for utt, path in sources["test"].items()}
    wanted = require_known(config.lists, lists, by_name)

    train = by_opaque("voxceleb", sources["train"])
    audio, seconds = _audio(config, "train", train, sources["train"], say, advance)
    _write_train(config.out / "train", {name: train[name] for name in audio}, audio, seconds)
    dev = {utt.name: utt for utt in sources["dev"]}
    dev_audio, seconds = _audio(config, "dev", dev, sources["dev"], say, advance)
    _write_dev(config, {name: dev[name] for name in dev_audio}, dev_audio, seconds)
    _write_test(config, {name: by_name[name] for name in wanted}, lists)
    return {"train": len(audio), "dev": len(dev_audio), "test": len(wanted)}


def _require_apart(speakers: Mapping[str, set[str]]) -> None:
    for one, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
        shared = sorted(speakers[one] & speakers[other])
        if shared:
            raise complain(f"{one} and {other}", f"share speakers: {some(shared)}", "check what was unpacked where")


def _audio(
    config: Voxceleb,
    name: str,
    utts: Mapping[str, Utt],
    files: Mapping[Utt, Path],
    say: Callable[[str], object],
    advance: Callable[[int], object],
) -> tuple[dict[str, Path], dict[str, float] | None]:
    """Where the audio of a set is, and its seconds where it was decoded."""
    sources = {key: files[utts[key]] for key in sorted(utts)}
    if config.audio is None:
        return sources, None
    # Two letters of the end as folders: thousands of files in each, where one of a million would be slow.
    places = {key: config.audio / name / key[-2:] / f"{key}.{config.suffix}" for key in sources}

    def tell(forecast: Forecast) -> None:
        say(f"decoding {name}: {forecast}")

    found = decode(sources, places, config.nj, advance=advance, tell=tell)
    named = config.out / name / QUARANTINE
    if found.failed and not (config.quarantine and found.seconds):
        reasons = some(found.failed.values())
        what = f"{len(found.failed)} of {len(sources)} recordings cannot be used: {reasons}"
        raise complain(name, what, "mend them, or go on without them by --quarantine")
    if found.failed:
        write_table(named, found.failed)
        say(f"{name}: {len(found.failed)} recordings left out, see {named}")
    else:
        named.unlink(missing_ok=True)
    return {key: places[key] for key in found.seconds}, found.seconds


def _write_train(
    folder: Path, utts: Mapping[str, Utt], audio: Mapping[str, Path], seconds: Mapping[str, float] | None
) -> None:
    write_set(folder, audio, seconds)
    truth = {
        "utt2spk": {key: utt.speaker for key, utt in utts.items()},
        "utt2session": {key: f"{utt.speaker}-{utt.video}" for key, utt in utts.items()},
        "utt2name": {key: utt.name for key, utt in utts.items()},
    }
    write_truth(folder, truth)


def _write_dev(
    config: Voxceleb, utts: Mapping[str, Utt], audio: Mapping[str, Path], seconds: Mapping[str, float] | None
) -> None:
    trials = draw_trials(list(utts.values()), rng.numpy(config.seed, "voxceleb", "dev"))
    write_set(config.out / "dev", audio, seconds, {key: utt.speaker for key, utt in utts.items()})
    write_trials(config.out / "dev" / "trials" / "dev", trials)


def _write_test(config: Voxceleb, audio: Mapping[str, Path], lists: Mapping[str, Trials]) -> None:
    """Only what the lists name. Nothing is left out here: results on part of a list compare with nobody's."""
    with ThreadPoolExecutor(config.nj) as pool:
        seconds = dict(zip(audio, pool.map(_seconds, audio.values()), strict=True))
    empty = [str(audio[key]) for key, length in seconds.items() if not length]
    if empty:
        raise complain("test", f"no samples in {some(empty)}", "fetch these recordings again: the trials need them")
    speakers = {key: Utt.of_name(key).speaker for key in audio}
    write_set(config.out / "test", audio, seconds, speakers)
    for name in LISTS:  # lists of an earlier call may name what is no longer in the set
        (config.out / "test" / "trials" / name).unlink(missing_ok=True)
    for name, trials in lists.items():
        write_trials(config.out / "test" / "trials" / name, trials)


def _seconds(path: Path) -> float:
    return info(path).num_samples / SAMPLE_RATE

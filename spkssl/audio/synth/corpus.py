"""The corpus on disk: data directories with audio, trials and true labels, noises and rooms."""

import json
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from threadpoolctl import threadpool_limits

from spkssl import config
from spkssl import rng as streams
from spkssl.audio.synth.filters import SAMPLE_RATE
from spkssl.audio.synth.noise import KINDS
from spkssl.audio.synth.plan import FIRST_SPEAKER, Recording, Sizes, draw_trials, female_speakers, recordings
from spkssl.audio.synth.recorder import Samples, make_noise, make_rir, make_session
from spkssl.audio.synth.variation import Variation
from spkssl.errors import complain
from spkssl.io.atomic import write_json
from spkssl.io.tables import write_lists, write_table
from spkssl.io.trials import write_trials

_GENERATION = 1  # raise it when the same seed gives other audio

Job = Callable[[], Samples]  # makes some files


def make_corpus(
    out: Path,
    seed: int,
    variation: Variation,
    sizes: Sizes,
    nj: int = 1,
    advance: Callable[[int], object] = lambda files: None,
) -> dict[str, int]:
    """Write `out/{train,dev,test,noise,rir}` and `out/wav`; returns the number of files of each set.

    The same bytes for any `nj`; audio that is there and whole is kept. `advance` is told of every few files done.
    """
    out = Path(out).resolve()
    _claim(out, seed, variation)
    jobs: list[Job] = []
    spoken: dict[str, dict[Recording, Path]] = {}
    for name in FIRST_SPEAKER:
        recorded = recordings(name, *sizes.of(name), variation.sessions)
        names = {r: r.opaque_name(seed) if name == "train" else r.name for r in recorded}
        spoken[name] = {r: out / "wav" / name / f"{utterance}.wav" for r, utterance in names.items()}
        jobs += [partial(make_session, seed, variation, files) for files in _by_session(spoken[name])]
    clips = [(kind, n) for kind in KINDS for n in range(sizes.noises)]
    noises = {out / "wav" / "noise" / f"{kind}-{n + 1:03d}.wav": (kind, n) for kind, n in clips}
    jobs += [partial(make_noise, seed, variation, kind, n, path) for path, (kind, n) in noises.items()]
    rirs = [out / "wav" / "rir" / f"rir-{n + 1:04d}.wav" for n in range(sizes.rirs)]
    jobs += [partial(make_rir, seed, n, path) for n, path in enumerate(rirs)]

    samples = _run(jobs, nj, advance)
    for name, files in spoken.items():
        _write_set(out / name, {path: samples[path] for path in files.values()})
        _write_reference(out / name, seed, variation, files)
    for name in ("dev", "test"):
        _write_trials(out / name, name, seed, variation, spoken[name])
    _write_set(out / "noise", {path: samples[path] for path in noises})
    write_table(out / "noise" / "utt2kind", {path.stem: KINDS[kind] for path, (kind, _) in noises.items()})
    _write_set(out / "rir", {path: samples[path] for path in rirs})
    return {**{name: len(files) for name, files in spoken.items()}, "noise": len(noises), "rir": len(rirs)}


def _claim(out: Path, seed: int, variation: Variation) -> None:
    """Sizes may change from call to call; anything else would mix two corpora in one folder."""
    path = out / "corpus.json"
    identity = {"generation": _GENERATION, "seed": seed, "variation": config.to_dict(variation)}
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found != identity:
            differing = [key for key in identity if found.get(key) != identity[key]]
            what = ", ".join(f"{key} (got {found.get(key)}, expected {identity[key]})" for key in differing)
            raise complain(path, f"the folder holds another corpus: {what}", "choose another --out or remove this one")
    write_json(path, identity)


def _by_session(files: Mapping[Recording, Path]) -> list[dict[Recording, Path]]:
    sessions: dict[str, dict[Recording, Path]] = {}
    for recording, path in files.items():
        sessions.setdefault(recording.session_id, {})[recording] = path
    return list(sessions.values())


def _run(jobs: Sequence[Job], nj: int, advance: Callable[[int], object]) -> Samples:
    """One thread to each process: rounding must not depend on how a sum is split."""
    samples: Samples = {}
    if nj == 1:
        with threadpool_limits(1):
            for job in jobs:
                made = job()
                advance(len(made))
                samples.update(made)
        return samples
    # Not forked: the parent may run threads (torch, faiss), and a fork would copy their locks
    pool = ProcessPoolExecutor(nj, multiprocessing.get_context("spawn"), initializer=_use_one_thread)
    try:
        for made in pool.map(_call, jobs, chunksize=4):
            advance(len(made))
            samples.update(made)
    finally:
        pool.shutdown(cancel_futures=True)
    return samples


def _call(job: Job) -> Samples:
    return job()


def _use_one_thread() -> None:
    threadpool_limits(1)


def _write_set(folder: Path, samples: Samples) -> None:
    """A data directory without labels: every file is its own speaker."""
    write_table(folder / "wav.scp", {path.stem: path for path in samples})
    write_table(folder / "utt2dur", {path.stem: count / SAMPLE_RATE for path, count in samples.items()})
    _write_speakers(folder, {path.stem: path.stem for path in samples})


def _write_speakers(folder: Path, utt2spk: Mapping[str, str]) -> None:
    spk2utt: dict[str, list[str]] = {}
    for utterance in sorted(utt2spk):
        spk2utt.setdefault(utt2spk[utterance], []).append(utterance)
    write_table(folder / "utt2spk", utt2spk)
    write_lists(folder / "spk2utt", spk2utt)


def _write_reference(folder: Path, seed: int, variation: Variation, files: Mapping[Recording, Path]) -> None:
    """What is true, in `ref/`, which training never reads."""
    speakers = {recording.speaker: recording.speaker_id for recording in files}
    female = female_speakers(seed, variation, list(speakers))
    genders = {speaker: "f" if yes else "m" for speaker, yes in zip(speakers.values(), female, strict=True)}
    write_table(folder / "ref" / "utt2spk", {path.stem: r.speaker_id for r, path in files.items()})
    write_table(folder / "ref" / "utt2session", {path.stem: r.session_id for r, path in files.items()})
    write_table(folder / "ref" / "spk2gender", genders)


def _write_trials(folder: Path, name: str, seed: int, variation: Variation, files: Mapping[Recording, Path]) -> None:
    """Sets with trials show their speakers."""
    _write_speakers(folder, {path.stem: recording.speaker_id for recording, path in files.items()})
    speakers = sorted({recording.speaker for recording in files})
    female = female_speakers(seed, variation, speakers)
    write_trials(folder / "trials" / name, draw_trials(list(files), female, streams.numpy(seed, "trials", name)))

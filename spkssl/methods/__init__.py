"""The table of methods. One file = one method: docstring with the paper, Config, one class."""

from __future__ import annotations

from typing import Any

from spkssl.contract import Facts, MakeEncoder, Method
from spkssl.methods import aam, aamsupcon, dino, dlg_lc, lgl, memo, moco, rdino, sdpn, simclr, ssrl

# name -> (Config, class, kind); kind `pretrain` needs no labels, `retrain` trains on the labels it is given.
METHODS: dict[str, tuple[type, type, str]] = {
    "simclr": (simclr.Config, simclr.Simclr, "pretrain"),
    "moco": (moco.Config, moco.Moco, "pretrain"),
    "dino": (dino.Config, dino.Dino, "pretrain"),
    "rdino": (rdino.Config, rdino.Rdino, "pretrain"),
    "sdpn": (sdpn.Config, sdpn.Sdpn, "pretrain"),
    "memo": (memo.Config, memo.Memo, "pretrain"),
    "aam": (aam.Config, aam.Aam, "retrain"),
    "aamsupcon": (aamsupcon.Config, aamsupcon.AamSupCon, "retrain"),
    "lgl": (lgl.Config, lgl.Lgl, "retrain"),
    "dlg_lc": (dlg_lc.Config, dlg_lc.DlgLc, "retrain"),
    "ssrl": (ssrl.Config, ssrl.Ssrl, "retrain"),
}


def configs(kind: str) -> dict[str, type]:
    """Name -> Config of the methods of one kind, for `config.choice`."""
    return {name: entry[0] for name, entry in METHODS.items() if entry[2] == kind}


def make_method(config: Any, make_encoder: MakeEncoder, facts: Facts) -> Method:
    """The method this configuration names."""
    return METHODS[config.name][1](config, make_encoder, facts)

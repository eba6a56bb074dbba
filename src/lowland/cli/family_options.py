"""Options of how a model is used, which its family decides, and of adapters beside its weights."""

from __future__ import annotations

import argparse

from lowland.cli.generated import add_settings
from lowland.cli.parser import KeysAndValues, comma_list, number, truth, whole
from lowland.families.settings import FamilySettings


def add_family(group: argparse._ArgumentGroup) -> None:
    """Adds how a model is used, which its family decides."""
    add_settings(group, FamilySettings, "family")


def add_adapters(group: argparse._ArgumentGroup) -> None:
    """Adds adapters that are trained instead of the model's weights."""
    group.add_argument(
        "--lora",
        dest="lora",
        nargs="*",
        action=KeysAndValues,
        keys={
            "kind": str,
            "r": whole,
            "alpha": number,
            "dropout": number,
            "targets": comma_list,
            "dora": truth,
        },
        metavar="KEY=VALUE",
        help="train adapters beside the weights: r=16 alpha=32 dropout=0 targets=q_proj,v_proj (PEFT's "
        "choice by default, or all-linear), dora=true, kind=ia3",
    )
    group.add_argument(
        "--merge",
        dest="merge",
        action="store_true",
        help="add the adapters of the best model to its weights in DIR/model (default: adapters alone)",
    )

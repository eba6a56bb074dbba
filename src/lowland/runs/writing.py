"""What a model's vocabulary cannot read, write or tell apart, counted before training.

A model writes ids, and its tokenizer makes text of them. A target that does not come back from its ids as it
was can be learned perfectly and still be scored wrong; two labels with the same ids are one label.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from unicodedata import normalize

from lowland.data.encode import TokenIds, decode, encode_texts
from lowland.errors import UserError
from lowland.evaluate.generate import written_labels
from lowland.families.base import Family
from lowland.families.writer import Writer
from lowland.tasks.base import Example, Task

LEAST_UNKNOWN = 0.1
"""Share of the inputs' tokens that may be unknown without a warning: a vocabulary without `?` loses less."""

MOST_SHOWN = 40
"""Characters of a text that a sentence shows."""

WHOLE = 1_000_000
"""A length in tokens that no text reaches."""


class Vocabulary:
    """How a model's texts become ids, and ids texts.

    Args:
        family: The model.
        input_length: Most tokens of an input.
        target_length: Most tokens of a target.
    """

    def __init__(self, family: Family, input_length: int, target_length: int) -> None:
        self._family, self._input_length, self.target_length = family, input_length, target_length
        self.tokenizer = family.tokenizer
        unknown = self.tokenizer.unk_token_id
        # Some tokenizers name their end as what is unknown: GPT-2's know every byte.
        self.unknown = None if unknown == self.tokenizer.eos_token_id else unknown

    def read(self, texts: Sequence[str]) -> Sequence[TokenIds]:
        """Gives the ids of inputs, as long as they are in training."""
        if isinstance(self._family, Writer):
            return self._family.encode_inputs(texts, self._input_length)[0]
        return encode_texts(texts, self.tokenizer, self._input_length)[0]

    def encode(self, texts: Sequence[str], length: int) -> Sequence[TokenIds]:
        """Gives the ids of targets, which are cut to a length."""
        if isinstance(self._family, Writer):
            return self._family.encode_targets(texts, length)[0]
        return encode_texts(texts, self.tokenizer, length)[0]

    def write(self, texts: Sequence[str], length: int = WHOLE) -> list[str]:
        """Gives what comes back from these ids."""
        return decode(self.encode(texts, length), self.tokenizer)


def check_writing(
    name: str,
    task: Task,
    train: Sequence[Example],
    inputs: Sequence[TokenIds],
    evaluation: Mapping[str, Sequence[Example]],
    family: Family,
    lengths: tuple[int, int],
) -> list[str]:
    """Counts what a task's texts lose in a model's vocabulary.

    Args:
        name: The task's name.
        task: The task, which scores.
        train: Its training examples.
        inputs: The ids of their inputs.
        evaluation: Its evaluation sets.
        family: The model; of one that does not write only the inputs are looked at.
        lengths: Most tokens of inputs and of targets.

    Returns:
        Sentences on inputs that lose much, and on targets that cannot be written where that costs scores.

    Raises:
        UserError: If two labels are the same for the model, or all its targets are.
    """
    vocabulary = Vocabulary(family, *lengths)
    written: list[str] = []
    if family.writes:
        sets = {what: examples for what, examples in evaluation.items() if examples}
        _refuse_collisions(name, task, [*train, *chain(*sets.values())], vocabulary)
        scored = sets or ({f"{name}, training": train} if train else {})
        written = [_targets(what, task, examples, vocabulary) for what, examples in scored.items()]
    return [*_inputs(name, train, inputs, vocabulary), *filter(None, written)]


def _refuse_collisions(name: str, task: Task, examples: Sequence[Example], vocabulary: Vocabulary) -> None:
    counts = Counter(example.targets for example in examples)
    labels = task.labels(examples)
    words = sorted(set(labels) or set(counts))
    groups: dict[bytes | str, list[str]] = {}
    written = dict(zip(words, vocabulary.write(words), strict=True))
    for word, ids in zip(words, vocabulary.encode(words, vocabulary.target_length), strict=True):
        # Ids that differ and are written alike (a blank at the end) cannot be told apart either.
        groups.setdefault(ids.tobytes(), []).append(word)
        groups.setdefault(written[word], []).append(word)
    same = max(groups.values(), key=len, default=[])
    if len(same) < (2 if labels else max(2, len(words))):
        return
    shown = ", ".join(f"{_shown(word, *same)} ({counts[word]})" for word in same[:5])
    shown += ", ..." * (len(same) > 5)
    whole = {written[word] for word in same}
    remedy = "Give other words for them in the target, or take a model whose vocabulary has theirs."
    if len(whole) > 1:
        why, remedy = "they begin alike and are cut there", "Give a greater --target-length."
    elif text := whole.pop():
        why = f"its vocabulary makes {_shown(text)} of each"
    else:
        why = "its vocabulary has none of their characters"
    if len({" ".join(normalize("NFKC", word).casefold().split()) for word in same}) == 1:
        remedy = "If they are one class in different spellings, correct the file; else give them other words."
    what = "labels" if labels else "targets"
    # Words that are alike by their ids may be alike by their text, too, or be a part of those shown.
    others = {tuple(group) for group in groups.values() if len(group) > 1 and not set(group) <= set(same)}
    if labels and others:
        listed = [" and ".join(_shown(word, *group) for word in group[:2]) for group in sorted(others)]
        remedy += f" The same holds for {', '.join(listed[:5])}{', ...' * (len(listed) > 5)}."
    raise UserError(f"{name}: the {what} {shown} are the same for this model: {why}. {remedy}")


def _inputs(
    name: str, train: Sequence[Example], rows: Sequence[TokenIds], vocabulary: Vocabulary
) -> Iterator[str]:
    """Reports inputs that lose words, that become empty, or that become the same as others."""
    known = {example.inputs: row for example, row in zip(train, rows, strict=True)}
    (empty,) = vocabulary.read([""])
    lost = [text for text, row in known.items() if len(row) <= len(empty) and text.strip()]
    if lost:
        yield (
            f"{name}: {len(lost)} of {len(known)} different training inputs become empty in this model's "
            f"vocabulary, such as {_shown(lost[0])}."
        )
    counts = {text: int((row == vocabulary.unknown).sum()) for text, row in known.items()}
    share = sum(counts.values()) / max(1, sum(len(row) for row in known.values()))
    if vocabulary.unknown is not None and share >= LEAST_UNKNOWN:
        worst = max(counts, key=lambda text: counts[text])
        yield (
            f"{name}: {share:.0%} of the training inputs' tokens are unknown to this model's vocabulary, "
            f"in {sum(map(bool, counts.values()))} of {len(known)} different inputs: {_shown(worst)} "
            f"comes back as {_shown(vocabulary.write([worst])[0])}. What is unknown is lost; take a "
            "model whose vocabulary has it."
        )
    alike: dict[bytes, dict[str, set[str]]] = {}
    for example, row in zip(train, rows, strict=True):
        alike.setdefault(row.tobytes(), {}).setdefault(example.inputs, set()).add(example.targets)
    torn = [texts for texts in alike.values() if len(texts) > 1 and len(set().union(*texts.values())) > 1]
    if torn:
        one, other, *_ = max(torn, key=len)
        yield (
            f"{name}: {sum(map(len, torn))} of {len(known)} different training inputs are the same for this "
            f"model as another with another target, such as {_shown(one)} and {_shown(other)}: once they are "
            "cut, or have lost what its vocabulary lacks, nothing tells them apart."
        )


def _targets(what: str, task: Task, examples: Sequence[Example], vocabulary: Vocabulary) -> str:
    """Reports targets that do not come back as they were, if the best model scores less for it."""
    targets = [example.targets for example in examples]
    texts = list(dict.fromkeys(targets))
    meant = written_labels(task.labels(examples), vocabulary.tokenizer)
    whole = dict(zip(texts, vocabulary.write(texts), strict=True))
    within = dict(zip(texts, vocabulary.write(texts, vocabulary.target_length), strict=True))
    back = {
        text: within[text] if within[text] != whole[text] else meant.get(whole[text], whole[text])
        for text in texts
    }
    cut = [text for text in targets if within[text] != whole[text]]
    changed = [text for text in targets if back[text] != text and within[text] == whole[text]]
    best, most = task.evaluate(examples, targets), task.evaluate(examples, [back[text] for text in targets])
    less = [key for key in best if not math.isnan(best[key]) and not most[key] >= best[key] - 1e-9]
    if not less:
        return ""
    told, remedy = [], ""
    if changed:
        one = changed[0]
        told.append(
            f"{len(changed)} of {len(targets)} targets cannot be written by this model's vocabulary as they "
            f"are: {_shown(one, back[one])} comes back as {_shown(back[one], one)}"
        )
        remedy = " Write the targets as they come back, or use another metric or model."
    if cut:
        end = within[cut[0]]
        end = repr(end if len(end) <= MOST_SHOWN else f"... {end[4 - MOST_SHOWN :]}")
        told.append(
            f"{len(cut)} of {len(targets)} targets are longer than what is written: {_shown(cut[0])} ends "
            f"as {end}, and --target-length allows more"
        )
    scores = " and ".join(f"{key} {most[key]:.1f}" for key in less)
    return f"{what}: {'; '.join(told)}. A model that learned every target scores at most {scores}.{remedy}"


def _shown(text: str, *beside: str) -> str:
    """Shows a text; one that looks like another beside it with its characters written out."""
    short = text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 4]} ..."
    look = normalize("NFC", text)
    alike = any(text != other and look == normalize("NFC", other) for other in beside)
    return ascii(short) if alike else repr(short)

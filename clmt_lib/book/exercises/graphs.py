"""Chapter 04."""

from typing import Any

import numpy as np

from clmt_lib.book.exercises.core import called, chosen, exercise, first, numbers


@exercise("04.1", "mean of what is heard, plus oneself, and what is below zero is cut off.")
def _one_step(answer: Any) -> Any:
    heard, own = np.array([[2.0, 0.0], [4.0, 2.0]]), np.array([-5.0, 1.0])
    known = [
        (np.maximum(heard.mean(0) + own, 0), None),
        (heard.mean(0) + own, "nearly: the ReLU is missing, which sets what is negative to 0."),
        (
            np.maximum(heard.sum(0) + own, 0),
            "that is the sum of the neighbours; a message is their mean.",
        ),
        (heard.mean(0), "that is what it hears; now add what it knows itself, then the ReLU."),
        (
            np.maximum(np.vstack([heard, own]).mean(0), 0),
            "the node itself is no neighbour: it is added to the mean, not averaged with it.",
        ),
        (np.maximum(own, 0), "that is the node alone; what does it hear?"),
    ]
    return first(
        numbers(answer, (2,)),
        known,
        "first the mean of the two lines, then plus the drug's own vector, then the ReLU.",
    )


EDGE_HINTS = {
    "a": ("yes", "it is a training pair, and nobody asks for it in this step."),
    "b": (
        "no",
        "then the answer travels to the one who is asked: the loss falls, and nothing is learnt.",
    ),
    "c": ("no", "who chooses on valid must not have told the model."),
    "d": (
        "no",
        "that somebody measured it says something, too; and a test graph made of test pairs is "
        "a graph of another density.",
    ),
    "e": (
        "say so",
        "expression is no response, so it is not forbidden; but then the graph knows the test "
        "lines, and the result must be called transductive.",
    ),
}


@exercise("04.2", "an edge is a statement that somebody makes; ask who made it, and when.")
def _edges(answer: Any) -> Any:
    return chosen(answer, EDGE_HINTS, ("yes", "no", "say so"))


@exercise("04.3", "every node hears exactly its k most similar others.")
def _neighbours(answer: Any) -> Any:
    similar = np.corrcoef(np.random.default_rng(4).normal(size=(9, 5)))
    got, k = numbers(called(answer, similar.copy(), 3), similar.shape), 3
    order = np.argsort(-np.where(np.eye(9, dtype=bool), -np.inf, similar), axis=1)

    def table(columns: np.ndarray) -> np.ndarray:
        out = np.zeros_like(similar)
        np.put_along_axis(out, columns, 1.0, axis=1)
        return out

    right, with_self = table(order[:, :k]), table(np.argsort(-similar, axis=1)[:, :k])
    if set(np.unique(got)) - {0.0, 1.0}:
        return "hand back zeros and ones: who hears whom, not how much."
    known = [
        (right, None),
        (
            right.T,
            "transposed: *row* v must hold the nodes that v hears. As it is, a node hears those "
            "that list it.",
        ),
        (
            table(order[:, 1 : k + 1]),
            "the nearest neighbour is missing: the node itself was skipped twice.",
        ),
        (
            with_self,
            "a node is its own nearest neighbour here; leave the diagonal out before you sort.",
        ),
        (table(order[:, : k + 1]), "that is one neighbour too many."),
        (table(order[:, -k - 1 : -1]), "those are the *least* similar."),
        (table(np.argsort(similar, axis=1)[:, :k]), "those are the *least* similar."),
        (
            np.maximum(right, right.T),
            "that made it symmetric: popular nodes now hear many more than k.",
        ),
    ]
    return first(
        got,
        known,
        "sort each row by falling similarity, without the node itself, and put a 1 at the first k.",
    )


@exercise("04.4", "what travels and what is asked for never overlap, and together they are all.")
def _held_out(answer: Any) -> Any:
    measured = np.random.default_rng(5).random((40, 30)) < 0.8
    got = called(answer, measured.copy(), 0.75, np.random.default_rng(6))
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        return "return two tables: (message, asked)."
    message, asked = (numbers(part, measured.shape) > 0 for part in got)
    if (message & asked).any():
        return (
            f"{(message & asked).sum()} pairs are in both tables: these would be asked for "
            "while their answer travels."
        )
    if ((message | asked) & ~measured).any():
        return "a pair that was never measured has an edge or is asked for: multiply by `measured`."
    if ((message | asked) != measured).any():
        return (
            f"{(measured & ~(message | asked)).sum()} measured pairs are in neither table: "
            "asked is what is measured and not in the message."
        )
    share = message.sum() / measured.sum()
    if abs(share - 0.75) > 0.06:
        return f"{share:.0%} of the measured pairs travel; `keep` is 75 %."
    other = called(answer, measured.copy(), 0.75, np.random.default_rng(7))
    if np.array_equal(numbers(other[0], measured.shape) > 0, message):
        return (
            "another generator gives the same table: draw with `rng`, or every step holds "
            "out the same pairs."
        )
    rows, columns = message.sum(1) / measured.sum(1), message.sum(0) / measured.sum(0)
    if np.isin(rows, (0, 1)).mean() > 0.5 or np.isin(columns, (0, 1)).mean() > 0.5:
        return "whole lines or drugs were held out; draw each pair for itself."
    return None


@exercise(
    "04.5",
    "it follows the rules and finds drugs that act alike. Now see in the chapter's comparison "
    "whether it predicts.",
)
def _relation(answer: Any) -> Any:
    rng = np.random.default_rng(8)
    kind = np.repeat(np.arange(5), 4)  # 20 drugs of 5 kinds
    target = rng.normal(size=(60, 5))[:, kind] + 0.7 * rng.normal(size=(60, 20))
    target[rng.random(target.shape) < 0.3] = np.nan
    target[:, 0] = np.nan  # a drug without a training response
    got = numbers(called(answer, target.copy(), 3), (20, 20))
    if not np.isfinite(got).all() or set(np.unique(got)) - {0.0, 1.0}:
        return "return zeros and ones without holes: who hears whom."
    if np.diag(got).any():
        return "no drug hears itself."
    if got[0].any() or got[:, 0].any():
        return (
            "drug 0 has no training response: nothing says whom it resembles, so it neither "
            "hears nor is heard in this relation."
        )
    if (got.sum(1) > 3).any():
        return "a drug hears at most k others in this relation."
    order = rng.permutation(60)
    if not np.array_equal(numbers(called(answer, target[order].copy(), 3), got.shape), got):
        return (
            "the same responses with the lines in another order give another graph: it must "
            "depend on the responses alone."
        )
    right = (kind[:, None] == kind[None])[got > 0]
    if not len(right):
        return "no drug hears another."
    if right.mean() < 0.6:
        return (
            f"{right.mean():.0%} of its edges join drugs that act alike in a world made for "
            "it; 16 % is chance. Compare columns over the lines that both drugs have."
        )
    return None

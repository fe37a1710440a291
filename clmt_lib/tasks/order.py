"""Order in a representation, straight number lines, and how fine a number is (chapter `cldr`).

`triplets` asks "which of two pairs is nearer in response to a third", `triplet_order` whether a
representation says the same, `order_draws` how sure one may be; `nearest_number` and
`straightness` read a line of numbers; `shared_words` and `closer_than` count what a batch holds.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from clmt_lib.io import DataError
from clmt_lib.tasks.bootstrap import Bootstrap
from clmt_lib.tasks.metrics import spearman

TRIPLETS = 20_000  # drawn where all of them are more


def triplets(
    y: np.ndarray,
    groups: np.ndarray | None = None,
    margin: float = 0.0,
    number: int = TRIPLETS,
    seed: int = 0,
) -> np.ndarray:
    """Triplets (anchor, nearer, farther): by response, the anchor is nearer to the second.

    Parameters
    ----------
    y : [n] responses, or what is left of them after effects were taken off
    groups : [n] labels; all three are then of one group, such as one drug
    margin : how much farther the third must be, in the units of `y`; a triplet whose distances
        differ by no more is not asked about
    number : triplets that are looked at, each equally likely; all of them where there are no more

    Returns
    -------
    [m, 3] positions, m at most `number`.

    Raises
    ------
    DataError
        No triplet: fewer than three in every group, or no two distances that differ.

    >>> triplets(np.array([0.0, 1.0, 5.0])).tolist()
    [[0, 1, 2], [1, 0, 2], [2, 1, 0]]
    """
    y = np.asarray(y, dtype=np.float64)
    group = np.zeros(len(y), dtype=int) if groups is None else np.asarray(groups)
    members = [np.flatnonzero(group == each) for each in np.unique(group)]
    members = [rows for rows in members if len(rows) > 2]
    sizes = np.array([len(rows) for rows in members])
    anchors = sizes * (sizes - 1) * (sizes - 2) // 2  # an anchor and two others, in either order
    if anchors.sum() <= number:
        found = [_all_triplets(rows) for rows in members]
    else:
        rng = np.random.default_rng(seed)
        found = [
            _some_triplets(rows, asked, rng)
            for rows, asked in zip(
                members, rng.multinomial(number, anchors / anchors.sum()), strict=True
            )
        ]
    out = np.concatenate(found) if found else np.zeros((0, 3), dtype=int)
    near, far = (np.abs(y[out[:, 0]] - y[out[:, which]]) for which in (1, 2))
    out = np.where((near <= far)[:, None], out, out[:, [0, 2, 1]])
    out = out[np.abs(near - far) > margin]
    if not len(out):
        raise DataError(
            f"no triplet among {len(y)} values whose distances differ by more than {margin:g}",
            remedy="give three values or more in a group, or a smaller margin",
        )
    return out


def _all_triplets(rows):
    i, j, k = (axis.ravel() for axis in np.meshgrid(rows, rows, rows, indexing="ij"))
    return np.stack([i, j, k], axis=1)[(j < k) & (i != j) & (i != k)]


def _some_triplets(rows, asked, rng):
    """[asked, 3], the three of each different: shifts of the anchor's place that differ."""
    n = len(rows)
    anchor, second = rng.integers(n, size=asked), rng.integers(1, n, size=asked)
    third = rng.integers(1, n - 1, size=asked)
    third += third >= second  # neither 0 nor the second's shift
    return rows[np.stack([anchor, (anchor + second) % n, (anchor + third) % n], axis=1)]


def triplet_order(z: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Whether a representation puts the nearer response nearer (Euclidean), triplet by triplet.

    Parameters
    ----------
    z : [n, dim]; normalise the rows first where the cosine is what counts
    asked : [m, 3] of `triplets`

    Returns
    -------
    [m] 1 for the right order, 0 for the wrong one, one half where both are equally near; the mean
    of a representation that knows nothing is 0.5.

    >>> line = np.array([[0.0], [1.0], [5.0]])
    >>> triplet_order(line, np.array([[0, 1, 2], [1, 0, 2], [0, 2, 1]])).tolist()
    [1.0, 1.0, 0.0]
    """
    z = np.asarray(z, dtype=np.float64)
    z = z[:, None] if z.ndim == 1 else z
    near, far = (((z[asked[:, 0]] - z[asked[:, which]]) ** 2).sum(1) for which in (1, 2))
    same = np.isclose(near, far, rtol=1e-9, atol=0.0)
    return np.where(same, 0.5, (near < far).astype(float))


def order_draws(
    z: Mapping[str, np.ndarray],
    y: np.ndarray,
    pairs: np.ndarray,
    boot: Bootstrap,
    groups: np.ndarray | None = None,
    margin: float = 0.0,
    number: int = TRIPLETS // 2,
    seed: int = 0,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Share of triplets in order in every draw of a two-way bootstrap: the table is drawn again,
    and fresh triplets of its pairs are asked. The same triplets are asked of every representation,
    so differences are paired.

    Triplets drawn once and weighed by the counts of their six entities would not do: few carry all
    the weight, and the interval would be that of a handful.

    Parameters
    ----------
    z : name -> [n, dim]; a table of n x n distances each is kept in memory
    y, groups, margin : as in `triplets`
    pairs : [n, sides] positions of entities
    number : triplets looked at in a draw; two copies of one pair make no triplet

    Returns
    -------
    (name -> [draws] shares, [draws] weights): a share is NaN where a draw has no triplet, whose
    weight is then 0; else the weight is that of the pairs drawn, relative to the set as it is, as
    `pool` wants it of a fold.
    """
    pairs, y = np.asarray(pairs), np.asarray(y, dtype=np.float64)
    group = (
        np.zeros(len(y), dtype=int) if groups is None else np.unique(groups, return_inverse=True)[1]
    )
    order = np.argsort(group, kind="stable")
    apart = {name: _distances(np.asarray(each)) for name, each in z.items()}
    shares = {name: np.full(boot.draws, np.nan) for name in z}
    weights = np.zeros(boot.draws)
    for draw in range(boot.draws):
        count = np.ones(len(pairs))
        for axis, counts in enumerate(boot.counts):
            count = count * counts[draw, pairs[:, axis]]
        rows = np.repeat(order, count[order].astype(int))  # the pairs of this draw, by group
        if not len(rows):
            continue
        rng = np.random.default_rng([seed, draw])
        i, j, k = _of_one_group(rows, group, number, rng)
        near, far = np.abs(y[i] - y[j]), np.abs(y[i] - y[k])
        asked = (np.abs(near - far) > margin) & (i != j) & (i != k) & (j != k)
        i, j, k = i[asked], np.where(near <= far, j, k)[asked], np.where(near <= far, k, j)[asked]
        if not len(i):
            continue
        weights[draw] = count.sum() / len(pairs)
        for name, table in apart.items():
            one, other = table[i, j], table[i, k]
            shares[name][draw] = (one < other).mean() + 0.5 * (one == other).mean()
    return shares, weights


def _distances(z):
    """[n, n] squared Euclidean distances, rounded so that equal vectors tie."""
    z = (z - z.mean(0)).astype(np.float32)
    squared = (z**2).sum(1)
    apart = squared[:, None] + squared - 2 * z @ z.T
    step = max(float(squared.max()), 1e-30) * 1e-6
    return np.round(np.maximum(apart, 0) / step).astype(np.float32)


def _of_one_group(rows, group, number, rng):
    """Three arrays [number] of rows, each triple of one group; `rows` are sorted by group. A triple
    is as likely as any other: a group is drawn by the cube of its size.
    """
    starts = np.flatnonzero(np.diff(group[rows], prepend=-1))
    sizes = np.diff(np.append(starts, len(rows))).astype(float)
    which = rng.choice(len(starts), number, p=sizes**3 / (sizes**3).sum())
    return (rows[starts[which] + (rng.random(number) * sizes[which]).astype(int)] for _ in range(3))


def nearest_number(z: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """[n] position of the number whose embedding has the largest cosine with each row of `z`: the
    answer of a model that reads responses off texts.

    Parameters
    ----------
    z : [n, dim]
    numbers : [numbers, dim], in order of what they say

    >>> nearest_number(np.array([[2.0, 0.1], [0.0, 3.0]]), np.eye(2)).tolist()
    [0, 1]
    """
    lengths = np.linalg.norm(numbers, axis=1, keepdims=True)
    return np.argmax(np.asarray(z) @ (numbers / np.maximum(lengths, 1e-12)).T, axis=1)


def straightness(numbers: np.ndarray, values: np.ndarray | None = None) -> dict[str, float]:
    """How much the embeddings of numbers look like a number line.

    Parameters
    ----------
    numbers : [numbers, dim], in order
    values : [numbers] what they say; their places where not given

    Returns
    -------
    dict: `spearman`, rank correlation of the distance of two embeddings with |n - m|, over all
    pairs; `chord`, the distance from first to last over the length of the way through all (1 for a
    straight line, near 0 for a tangle); `linear`, the share of the embeddings' variance that the
    best e0 + n r explains (eq-cldr-line).

    Raises
    ------
    DataError
        Fewer than three numbers.

    >>> {name: round(value, 6) for name, value in straightness(np.arange(8)[:, None]).items()}
    {'spearman': 1.0, 'chord': 1.0, 'linear': 1.0}
    """
    z = np.asarray(numbers, dtype=np.float64)
    n = np.arange(len(z), dtype=np.float64) if values is None else np.asarray(values, dtype=float)
    if len(z) < 3:
        raise DataError(f"a line of {len(z)} numbers", remedy="give at least three")
    one, other = np.triu_indices(len(z), 1)
    squared = (z**2).sum(1)
    apart = np.sqrt(np.maximum(squared[:, None] + squared - 2 * z @ z.T, 0.0))[one, other]
    way = np.linalg.norm(np.diff(z, axis=0), axis=1).sum()
    centred, n_centred = z - z.mean(0), n - n.mean()
    spread = (centred**2).sum()
    fitted = ((n_centred @ centred) ** 2).sum() / (n_centred**2).sum()
    return {
        "spearman": spearman(np.abs(n[one] - n[other]), apart),
        "chord": float(np.linalg.norm(z[-1] - z[0]) / way) if way > 0 else 0.0,
        "linear": float(fitted / spread) if spread > 0 else 0.0,
    }


def shared_words(words: Sequence | np.ndarray, batch: int = 256) -> float:
    """Expected share of the rows of a random batch whose word another row of it has, too: rows that
    a hard contrast calls different although they say the same.

    Parameters
    ----------
    words : [n] of all examples, such as responses rounded to thousandths
    batch : rows drawn without replacement

    Raises
    ------
    DataError
        A batch that is larger than the data.

    >>> round(shared_words([1, 1, 2, 3], batch=2), 4)  # one pair of six shares its word
    0.1667
    """
    from scipy.special import gammaln

    count = np.unique(np.asarray(words), return_counts=True)[1].astype(float)
    n = int(count.sum())
    if not 1 <= batch <= n:
        raise DataError(f"a batch of {batch} from {n} examples", remedy=f"draw 1 to {n}")
    others = n - count  # that have another word
    possible = others >= batch - 1
    log_alone = np.where(
        possible,
        gammaln(others + 1)
        - gammaln(np.maximum(others - batch + 1, 0) + 1)
        - gammaln(n)
        + gammaln(n - batch + 1),
        -np.inf,
    )
    return float(max(0.0, 1 - (count / n * np.exp(log_alone)).sum()))


def closer_than(y: np.ndarray, gap: float) -> float:
    """Share of the pairs of different examples whose values lie less than `gap` apart.

    >>> closer_than(np.array([0.0, 1.0, 3.0]), 2.0)
    0.3333333333333333
    """
    y = np.sort(np.asarray(y, dtype=np.float64))
    if len(y) < 2:
        raise DataError(f"{len(y)} value has no pair", remedy="give two or more")
    closer = np.searchsorted(y, y + gap, side="left") - np.arange(len(y)) - 1
    return float(np.maximum(closer, 0).sum() / (len(y) * (len(y) - 1) / 2))

"""A beginning that is read once, the contrasts of ordered labels, and words of numbers: each equal
to a plain reference.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clmt_lib import data
from clmt_lib.io import DataError
from clmt_lib.nn.contrast import (
    Temperature,
    info_nce,
    ordinal_targets,
    rank_n_contrast,
    soft_alignment,
)
from clmt_lib.nn.heads import HistogramHead, correlation_loss
from clmt_lib.nn.language import LanguageConfig, TextTower
from clmt_lib.views import captions

GROUPS = torch.tensor([0, 0, 1, 1, 1, 0, 0, 2, 1])
LABELS = torch.tensor([0, 1, 1, 2, 3, 3, 3, 5, 9], dtype=torch.float64)


def embeddings(n=9, dim=3, seed=0):
    made = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, generator=made, dtype=torch.float64).requires_grad_()


def looped_rank_n_contrast(z, y, temperature, groups):
    total, count = 0.0, 0
    for i in range(len(z)):
        met = [k for k in range(len(z)) if k != i and groups[k] == groups[i]]
        s = {k: -(z[i] - z[k]).norm() / temperature for k in met}
        for j in met:
            far = [k for k in met if (y[i] - y[k]).abs() >= (y[i] - y[j]).abs()]
            total = total + torch.stack([s[k] for k in far]).exp().sum().log() - s[j]
            count += 1
    return total / count


@pytest.mark.parametrize("groups", [torch.zeros(9, dtype=torch.long), GROUPS])
def test_rank_n_contrast_equals_a_loop_over_anchors_and_partners(groups):
    z = embeddings()
    fast = rank_n_contrast(z, LABELS, 2.0, groups)
    plain = looped_rank_n_contrast(z, LABELS, 2.0, groups)
    assert torch.allclose(fast, plain, atol=1e-12)
    gradients = [torch.autograd.grad(loss, z)[0] for loss in (fast, plain)]
    assert torch.allclose(*gradients, atol=1e-12)


def test_rank_n_contrast_without_groups_is_one_group():
    z = embeddings()
    one = torch.zeros(9, dtype=torch.long)
    assert torch.equal(rank_n_contrast(z, LABELS), rank_n_contrast(z, LABELS, groups=one))


def test_rank_n_contrast_of_equal_labels_and_of_one_row():
    z = torch.zeros(5, 2)
    assert rank_n_contrast(z, torch.ones(5)).item() == pytest.approx(np.log(4))
    alone = torch.ones(1, 2, requires_grad=True)
    loss = rank_n_contrast(alone, torch.ones(1))
    loss.backward()
    assert loss.item() == 0 and torch.equal(alone.grad, torch.zeros(1, 2))


def test_rank_n_contrast_prefers_embeddings_in_the_order_of_their_labels():
    y = torch.arange(8.0)
    ordered = rank_n_contrast(y[:, None], y, 1.0)
    swapped = rank_n_contrast(y[[0, 5, 2, 7, 4, 1, 6, 3]][:, None], y, 1.0)
    assert ordered < swapped


def looped_contrast(a, b, targets, temperature, allowed):
    """Cross-entropy onto targets, row by row, both directions, over allowed candidates."""
    total = 0.0
    for first, second in ((a, b), (b, a)):
        for i in range(len(first)):
            met = [j for j in range(len(first)) if allowed[i, j]]
            s = torch.stack(
                [F.cosine_similarity(first[i], second[j], dim=0) / temperature for j in met]
            )
            total = total - (targets[i, met] * s.log_softmax(0)).sum()
    return total / (2 * len(a))


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_contrast_within_groups_equals_a_loop(groups):
    a, b = embeddings(seed=1), embeddings(seed=2)
    apart = torch.zeros(9, 9, dtype=torch.bool)
    if groups is not None:
        apart = groups[:, None] != groups[None]
    hard = info_nce(a, b, 0.3, groups=groups)
    assert torch.allclose(hard, looped_contrast(a, b, torch.eye(9).double(), 0.3, ~apart))
    targets = ordinal_targets(LABELS, 0.7, groups)
    assert torch.allclose(targets.sum(1), torch.ones(9).double())
    soft = soft_alignment(a, b, targets, 0.3, groups=groups)
    assert torch.allclose(soft, looped_contrast(a, b, targets, 0.3, ~apart))
    assert torch.isfinite(torch.autograd.grad(soft, a)[0]).all()


def test_ordinal_targets_equal_a_plain_softmax_and_refuse_no_width():
    found = ordinal_targets(LABELS, 0.5)
    for i in range(9):
        raw = np.exp(-np.abs(LABELS[i].item() - LABELS.numpy()) / 0.5)
        assert np.allclose(found[i], raw / raw.sum())
    with pytest.raises(DataError, match="width"):
        ordinal_targets(LABELS, 0.0)


def test_a_learnt_temperature_is_a_tensor_with_a_gradient():
    temperature = Temperature(0.5)
    a, b = embeddings(seed=1).float(), embeddings(seed=2).float()
    targets = ordinal_targets(LABELS.float(), 1.0)
    soft_alignment(a, b, targets, temperature()).backward()
    assert temperature.log_scale.grad.abs() > 0


def tower(layers=3, context=20):
    torch.manual_seed(0)
    return TextTower(20, LanguageConfig(16, layers, 4, context, 5)).double()


def test_a_beginning_read_once_gives_the_plain_values_and_gradients():
    net, made = tower(), torch.Generator().manual_seed(1)
    starts, ends = torch.tensor([3, 7, 5]), torch.tensor([2, 4, 3, 4, 1])
    first = torch.randint(3, 20, (3, 7), generator=made)
    second = torch.randint(3, 20, (5, 4), generator=made)
    which = torch.tensor([2, 0, 2, 1, 2])
    fast = net.continued(net.prefix(first, starts), which, second, ends)
    whole = [torch.cat([first[w, : starts[w]], second[i, : ends[i]]]) for i, w in enumerate(which)]
    length = torch.tensor([len(text) for text in whole])
    ids = torch.stack([F.pad(text, (0, int(length.max()) - len(text))) for text in whole])
    plain = net(ids, length)
    assert torch.allclose(fast, plain, atol=1e-5)
    weights = torch.randn(fast.shape, generator=made, dtype=torch.float64)
    gradients = [
        torch.autograd.grad((out * weights).sum(), net.parameters()) for out in (fast, plain)
    ]
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_padding_and_company_do_not_reach_a_text():
    net = tower()
    ids, length = torch.tensor([[3, 4, 5, 9, 9], [6, 7, 8, 3, 4]]), torch.tensor([3, 5])
    both = net(ids, length)
    assert torch.allclose(both[0], net(ids[:1, :3], length[:1])[0])
    assert torch.allclose(both[0], net(torch.tensor([[3, 4, 5, 0, 7]]), length[:1])[0])


def test_the_text_tower_equals_pytorchs_own_layers():
    net = tower(layers=2)
    for layer in net.layers:
        layer.mlp[1] = torch.nn.GELU()  # PyTorch's layer knows no QuickGELU
    ids, length = torch.tensor([[3, 4, 5, 6]]), torch.tensor([4])
    x = net.tokens(ids) + net.positions(torch.arange(4))
    mask = torch.nn.Transformer.generate_square_subsequent_mask(4, dtype=torch.float64)
    for layer in net.layers:
        reference = torch.nn.TransformerEncoderLayer(
            16, 4, 64, 0.0, "gelu", batch_first=True, norm_first=True, dtype=torch.float64
        )
        reference.self_attn.in_proj_weight.data = layer.project.weight.data
        reference.self_attn.in_proj_bias.data = layer.project.bias.data
        reference.self_attn.out_proj.load_state_dict(layer.merge.state_dict())
        reference.norm1.load_state_dict(layer.norm_1.state_dict())
        reference.norm2.load_state_dict(layer.norm_2.state_dict())
        reference.linear1.load_state_dict(layer.mlp[0].state_dict())
        reference.linear2.load_state_dict(layer.mlp[2].state_dict())
        x = reference(x, src_mask=mask)
    assert torch.allclose(net(ids, length), net.project(net.norm(x[:, -1])), atol=1e-10)


@pytest.mark.parametrize("sizes", [{"width": 10, "heads": 4}, {"layers": 0}])
def test_impossible_sizes_of_a_tower_are_refused(sizes):
    with pytest.raises(DataError, match=r"heads|below one"):
        LanguageConfig(**sizes)


def test_labels_are_the_papers_transform_and_come_back():
    y = np.linspace(-9, 9, 31)
    assert np.allclose(captions.labels(y), 1 / (1 + np.exp(y) ** -0.1))
    assert np.allclose(captions.from_labels(captions.labels(y)), y)
    assert np.isfinite(captions.from_labels([0.0, 1.0])).all()
    assert captions.labels([-1e9, 1e9]).tolist() == [0.0, 1.0]


def test_every_number_is_spelt_digit_by_digit_and_one_reads_as_one():
    spelt = [captions.number_words(code) for code in range(captions.NUMBERS)]
    assert len(set(spelt)) == 1001
    digits = {word: str(i) for i, word in enumerate(captions.DIGITS)} | {"point": "."}
    back = [float("".join(digits[word] for word in text.split())) for text in spelt]
    assert np.allclose(back, np.arange(1001) / 1000)
    assert captions.number_words(int(captions.codes([0.9995])[0])) == "one point zero zero zero"
    assert captions.number_words(1000, wraps=True) == captions.number_words(0)


@pytest.mark.parametrize("wrong", [np.nan, -0.001, 1.001, np.inf])
def test_a_label_that_is_no_share_is_refused(wrong):
    with pytest.raises(DataError, match="label 1 is"):
        captions.codes([0.5, wrong])
    with pytest.raises(DataError, match="in words"):
        captions.number_words(1001)


def test_unseen_tokens_and_cut_texts_are_counted():
    tokeniser = captions.Tokeniser.fitted([["a", "b"], ["b", "c"]])
    assert tokeniser.vocabulary[3:] == ("a", "b", "c")
    found = tokeniser.encode([["a", "x", "y", "b"], ["c"]], 3)
    assert found.ids.tolist() == [[3, 1, 1], [5, 0, 0]]
    assert (found.length.tolist(), found.unknown, found.cut) == ([3, 1], 2, 1)
    ended = tokeniser.encode([["a", "b", "c"]], 3, end=True)
    assert ended.ids.tolist() == [[3, 4, captions.END]] and ended.cut == 1
    with pytest.raises(DataError, match="text 1 has no token"):
        tokeniser.encode([["a"], []])
    with pytest.raises(DataError, match="context"):
        tokeniser.encode([["a"]], 1, end=True)


def test_captions_are_fitted_on_training_entities_alone():
    world = data.load("simulated", cells=24)
    frame = world.drugs.assign(smiles=["[Xe]" if i == 3 else "CCO" for i in range(world.n_drugs)])
    frame.iloc[5, frame.columns.get_loc("smiles")] = None
    world = world.with_frames(drug=frame)
    rows = np.arange(10), np.array([0, 1, 2])
    made = captions.Captions.written(world, rows, "published")
    assert "[Xe]" not in made.tokeniser.vocabulary
    assert captions.UNKNOWN in made.drug.ids[3] and made.drug.unknown >= 1
    assert captions.drug_parts(frame, "published")[5][-3:] == ["a", "drug", "and"]
    short = captions.Captions.written(
        world, rows, "published", context=int(made.line.ids.shape[1]) + 7
    )
    assert short.drug.cut == world.n_drugs - 1  # all but the drug without structure
    with pytest.raises(DataError, match="identity"):
        captions.Captions.written(world, rows, "prose")


def test_histogram_targets_are_the_mass_of_a_gaussian_and_their_mean_the_label():
    head = HistogramHead(3)
    targets = head.targets(torch.tensor([0.3, -2.0, 99.0]))
    assert torch.allclose(targets.sum(1), torch.ones(3))
    assert torch.allclose((targets @ head.centres)[:2], torch.tensor([0.3, -2.0]), atol=1e-3)
    assert (targets @ head.centres)[2] <= 4
    z, y = torch.randn(5, 3), torch.randn(5)
    head.eval()
    plain = torch.stack(
        [-(t * row.log_softmax(0)).sum() for t, row in zip(head.targets(y), head.logits(z))]
    )
    assert torch.allclose(head.loss(z, y), plain)


def test_correlation_loss_is_one_less_the_mean_correlation_of_groups():
    rng = np.random.default_rng(0)
    p, y = rng.normal(size=(2, 9))
    groups = GROUPS.numpy()
    kept = [g for g in np.unique(groups) if (groups == g).sum() >= 3]
    plain = np.mean([1 - np.corrcoef(p[groups == g], y[groups == g])[0, 1] for g in kept])
    found = correlation_loss(*map(torch.tensor, (p, y, groups)))
    assert found.item() == pytest.approx(plain)
    assert correlation_loss(torch.ones(4), torch.arange(4.0), torch.arange(4)).item() == 0

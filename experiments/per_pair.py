"""The plain way to compute the published network: every pair of a batch is encoded afresh, as
published code does (the yardstick of `make bench`).

The weights are those of `clmt_lib.models.clmt.published.Network`, and so is the result: with
dropout off and norms in eval mode, loss and gradients are equal to rounding
(`tests/unit/test_bench.py`, and at full width in the bench itself). What differs is how often a
thing is computed:

* a drug's molecule, fingerprint and text, and a line's omics and text, are encoded once for every
  pair of the batch that names them;
* a message is averaged over raw features (8,000 genes wide) and projected afterwards;
* every relation has its own product for what a node knows itself;
* in molecules, the network of angles reads every angle, GraphNorm is PyG's, and dropout draws a
  number for each element;
* the head reads one row of 2,048 numbers for each pair.

Two of the authors' defects must be off, because with them the encoding of an entity depends on
chance, or on its batch-mates: `dropout_at_test` and `graph_norm_over_batch`.
Like everything in this book, and unlike the authors' code, whole neighbourhoods are averaged
instead of sampled ones, by dense products: for a graph of this size
that is faster than gathering 8,000 numbers along every edge.
"""

import torch
import torch.nn.functional as F
from torch import nn

from clmt_lib.models.clmt import auxiliary
from clmt_lib.models.clmt.published import Batch, contrastive
from clmt_lib.nn.heads import LossOutput
from clmt_lib.nn.message_passing import row_mean
from clmt_lib.nn.molecular import mean_of_atoms

NOT_A_FUNCTION_OF_THE_ENTITY = ("dropout_at_test", "graph_norm_over_batch")


def aggregate_first(sage, x, adjacency):
    """What `HeteroSAGE` computes, in the order of PyG's `HeteroConv(SAGEConv)`: average raw
    features, then project; each relation with its own product for the target.
    """
    for layer in sage.layers:
        out = {}
        for node, incoming in layer.incoming.items():
            heard = []
            for relation in incoming:
                name = "__".join(relation)
                mean = (
                    row_mean(adjacency[relation]) @ x[relation[0]]
                )  # [n_target, features], 8,000 wide in the first layer
                heard.append(layer.neighbour[name](mean) + layer.own[name](x[node]))
            out[node] = torch.stack(heard).mean(0) if heard else layer.alone[node](x[node])
        x = {node: sage.drop(value.relu()) for node, value in out.items()}
    return x


def encode_molecules(encoder, graphs):
    """[n, width] as `clmt_lib.nn.molecular.GeometricEncoder` without lengths and masses."""

    def block(block, h, edge_index, edge, graph, keep):
        out = block.graph_norm(
            block.layer_norm(block.pass_messages(h, edge_index, edge)), graph, graphs.n
        )
        return F.dropout(out.relu() if block.act else out, block.drop, block.training) + keep

    h, e, states = encoder.atoms(graphs.atom), encoder.bonds[0](graphs.bond), []
    for number, atoms in enumerate(encoder.atom_blocks):
        states.append(h)
        h = block(atoms, h, graphs.bond_index, e, graphs.molecule, h)
        if number < len(encoder.bond_blocks):
            angle, fresh = (
                encoder.angles[number](graphs.angle[:, None]),
                encoder.bonds[number + 1](graphs.bond),
            )
            e = block(
                encoder.bond_blocks[number],
                fresh,
                graphs.angle_index,
                angle,
                graphs.bond_molecule,
                e,
            )
    return encoder.read_out(mean_of_atoms(torch.cat([*states, h], 1), graphs.molecule, graphs.n))


def encode_pairs(net, inputs, pairs, graph):
    """({view: [pairs, width]} of lines, the same of drugs): one row a pair, the same entity encoded
    as often as it is named.
    """
    cells, drugs = pairs.unbind(1)
    nodes = aggregate_first(net.graph, {"cell": inputs.expression, "drug": inputs.bits}, graph)
    expression = net.expression(inputs.expression[cells])
    molecule = torch.cat(
        [
            net.fingerprint(inputs.wide_bits[drugs]),
            encode_molecules(net.geometry, inputs.molecules.take(drugs)),
        ],
        1,
    )
    cell = {
        "text": net.text_cell(inputs.text_cell[cells]) * inputs.has_text_cell[cells, None],
        "graph": nodes["cell"][cells],
        "attribute": torch.cat(
            [
                expression,
                net.mutation(inputs.mutation[cells]),
                net.copy_number(inputs.copy_number[cells]),
            ],
            1,
        ),
        "anchor": expression,
    }
    drug = {
        "text": net.text_drug(inputs.text_drug[drugs]) * inputs.has_text_drug[drugs, None],
        "graph": nodes["drug"][drugs],
        "attribute": molecule,
        "anchor": net.project(molecule),
    }
    return cell, drug


def predict_pairs(net, cell, drug):
    """[pairs] from one wide row a pair: [line's views | drug's views] times the first layer, whose
    two halves are the network's.
    """
    views = net.config.views
    wide = torch.cat(
        [cell[view] for view in views] + [drug[view] for view in views], 1
    )  # [pairs, 2048] at the authors' widths
    weight = torch.cat([net.head_cell.weight, net.head_drug.weight], 1)
    return net.head(nn.functional.linear(wide, weight, net.head_cell.bias))[:, 0]


def first_rows(ids):
    """Unique ids in ascending order, where each is first met, and where each row finds its id: what
    entity-wise losses need of encodings a pair.
    """
    unique, place = ids.unique(return_inverse=True)
    rows = torch.arange(len(ids), device=ids.device)
    first = torch.full_like(unique, len(ids)).scatter_reduce(0, place, rows, "amin")
    return unique, first, place


def objective(net, inputs, pairs, y, config):
    """LossOutput of a batch, as `clmt_lib.models.clmt.published.objective`, from encodings of
    pairs.
    """
    graph = inputs.graph if config.has("supervision_edges_in_messages") else inputs.without(pairs)
    cell, drug = encode_pairs(net, inputs, pairs, graph)
    prediction = predict_pairs(net, cell, drug)
    (cells, first_cell, row), (drugs, first_drug, column) = (
        first_rows(ids) for ids in pairs.unbind(1)
    )
    cell, drug = (
        {view: x[first] for view, x in side.items()}
        for side, first in ((cell, first_cell), (drug, first_drug))
    )
    error = ((prediction - y) ** 2).mean()
    contrast = contrastive(Batch(prediction, cells, drugs, cell, drug, row, column), inputs, config)
    parts = {"error": error.detach(), "contrast": contrast.detach()}
    total = error + config.alpha * contrast
    if config.tasks:
        said = net.auxiliary(cell["attribute"], drug["attribute"])
        aims = {name: x[cells if name == "cell_type" else drugs] for name, x in inputs.aims.items()}
        extra, named = auxiliary.auxiliary_loss(said, aims, config.tasks)
        total, parts = total + config.beta * extra, parts | named
    return LossOutput(total, parts)

"""The `clmt` command. Everything heavy is imported inside the commands, so that `clmt --help`
answers at once.
"""

import argparse
import os
import sys


def main(argv=None):
    """Run one `clmt` command; returns the exit code (0 done, 2 bad input, 130 interrupted). `argv`
    None takes the command line.
    """
    args = _parser().parse_args(argv)
    from clmt_lib.io import DataError

    try:
        return args.command(args) or 0
    except DataError as error:
        print(f"clmt: {error}", file=sys.stderr)
        return 2
    except PermissionError as error:
        print(
            f"clmt: {error.filename}: no permission to write or read here. Remedy: give "
            "yourself permission, or name another folder",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("clmt: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output (head, less) has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(
            f"clmt: {error.filename or 'input or output'}: {error.strerror or error}. Remedy: "
            "check that this file or folder can be made and that the disk has room",
            file=sys.stderr,
        )
        return 2


def _parser():
    parser = argparse.ArgumentParser(
        prog="clmt",
        description="Multimodal contrastive learning for drug response: data, runs, audits and "
        "reports.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in PARTS:
        add(commands)
    return parser


def _add_data(commands):
    """`clmt data list | fetch | prepare | check`."""
    actions = commands.add_parser(
        "data", help="official sources, downloads, prepared tables"
    ).add_subparsers(metavar="ACTION", required=True)

    listing = actions.add_parser("list", help="the official sources, with licence and terms")
    listing.set_defaults(command=_data_list)

    fetch = actions.add_parser(
        "fetch", help="fetch one official file, after its terms were accepted; resumes and verifies"
    )
    fetch.add_argument("key", metavar="KEY", help="a key shown by `clmt data list`")
    fetch.add_argument("--to", metavar="DIR", required=True, help="folder of downloads")
    fetch.add_argument(
        "--accept-terms",
        action="store_true",
        help="say that you have read the licence and terms and accept them",
    )
    fetch.add_argument(
        "--mirror", metavar="URL", help="address of a mirror with the same file names"
    )
    fetch.set_defaults(command=_data_fetch)

    prepare = actions.add_parser(
        "prepare", help="turn a folder of official downloads into prepared tables"
    )
    prepare.add_argument("downloads", metavar="DOWNLOADS")
    prepare.add_argument("out", metavar="OUT", help="folder to make; it must not exist")
    prepare.add_argument(
        "--genes", metavar="FILE", help="keep only these genes: a text file, one symbol a line"
    )
    prepare.set_defaults(command=_data_prepare)

    check = actions.add_parser(
        "check", help="lines, drugs, pairs and checksum of every benchmark in a folder"
    )
    check.add_argument(
        "folder",
        metavar="FOLDER",
        nargs="?",
        help="prepared tables (default: the environment's CLMT_DATA)",
    )
    check.set_defaults(command=_data_check)


def _add_run(commands):
    """`clmt run`: one configuration, or a grid."""
    run = commands.add_parser(
        "run",
        help="fit and score one model on one split, or a whole grid; a finished run costs nothing",
    )
    run.add_argument(
        "--grid", metavar="FILE", help="a grid of configurations, such as experiments/grid.yaml"
    )
    run.add_argument(
        "--only",
        metavar="BENCHMARK",
        help="of a grid: the runs on this benchmark alone, such as ccle",
    )
    run.add_argument(
        "--jobs",
        type=int,
        default=1,
        help="processes that divide a grid (each gets its share of the cores)",
    )
    run.add_argument("--share", metavar="I/N", default="0/1", help=argparse.SUPPRESS)
    run.add_argument("--config", metavar="FILE", help="a config.json as records keep them")
    run.add_argument("--model", metavar="NAME")
    run.add_argument("--dataset", default="simulated")
    run.add_argument("--split", default="mixed")
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--fold", type=int, default=0)
    run.add_argument(
        "--settings",
        metavar="JSON",
        default="{}",
        help="what overrides the defaults, e.g. '{\"rank\": 30}'",
    )
    run.add_argument(
        "--options",
        metavar="JSON",
        default="{}",
        help='of the benchmark\'s reader, e.g. \'{"target": "act_area"}\'',
    )
    run.add_argument(
        "--predictions",
        action="store_true",
        help="run a record again that came without its predictions (not with --grid)",
    )
    run.add_argument(
        "--draws",
        action="store_true",
        help="run a record again that came without its bootstrap draws, which tables need",
    )
    run.add_argument("--records", metavar="DIR")
    run.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    run.set_defaults(command=_run)


def _run(args):
    from clmt_lib import records
    from clmt_lib.io import DataError

    if args.grid:
        return _run_grid(args)
    if args.config:
        config = records.read_config(args.config)
    else:
        config = records.RunConfig(
            args.dataset,
            args.split,
            args.model or "",
            args.seed,
            args.fold,
            _json("--settings", args.settings),
            _json("--options", args.options),
        )
    try:
        record = records.run(
            config,
            args.records,
            predictions=args.predictions,
            draws=args.draws,
            device=args.device,
            progress=True,
        )
    except TypeError as error:
        raise DataError(
            f"settings do not fit the model ({error})",
            remedy="give each setting a value of the type of its default",
        ) from error
    for key in ("rmse", "pcc", "pcc_per_drug"):
        value, low, high = (
            "-" if number is None else f"{number:.3f}"
            for number in (record.metrics["test"][key], *record.metrics["interval"][key])
        )
        print(f"{key:<14} {value}  [{low}, {high}]")
    if "censored" in record.metrics["test"]:
        print(
            f"censored       {record.metrics['test']['censored']:.3f}  of these responses are "
            "bounds, read here as measured; see rmse_measured in the record"
        )
    print(f"record: {record.path}")


def _run_grid(args):
    from clmt_lib import records

    configs = _named(records.read_grid(args.grid), args.only)
    if args.jobs > 1:
        return _divided(
            args,
            [
                "run",
                "--grid",
                args.grid,
                *(["--draws"] if args.draws else []),
                *(["--only", args.only] if args.only else []),
            ],
        )
    failed = records.run_grid(
        configs, args.records, share=_share(args), draws=args.draws, device=args.device, say=_say
    )
    return _told(configs, failed, args, "clmt report")


def _named(configs, only):
    """The configurations on one benchmark, or all of them."""
    from clmt_lib.io import DataError

    left = [config for config in configs if only in (None, config.dataset)]
    if only and not left:
        raise DataError(
            f"the grid has no run on {only!r}",
            remedy=f"use one of: {', '.join(sorted({config.dataset for config in configs}))}",
        )
    return left


def _divided(args, words):
    """The same command in `--jobs` processes, each with its share of the runs and of the cores; 1
    where one of them failed.
    """
    import subprocess

    threads = str(max(1, (os.cpu_count() or 1) // args.jobs))
    env = {
        **os.environ,
        **dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT"),
            threads,
        ),
    }
    command = [
        sys.executable,
        "-m",
        "clmt_lib",
        *words,
        "--device",
        args.device,
        *(["--records", args.records] if args.records else []),
    ]
    workers = [
        subprocess.Popen([*command, "--share", f"{i}/{args.jobs}"], env=env)
        for i in range(args.jobs)
    ]
    return (
        1 if any([worker.wait() for worker in workers]) else 0
    )  # a killed worker's code is below zero


def _share(args):
    return tuple(int(part) for part in args.share.split("/"))


def _say(line):
    print(line, flush=True)


def _told(configs, failed, args, after):
    first, step = _share(args)
    print(f"{len(configs[first::step]) - len(failed)} done, {len(failed)} failed; next: {after}")
    return 1 if failed else 0


def _add_study(commands):
    """`clmt study`: a base and its variants, run and compared."""
    study = commands.add_parser(
        "study",
        help="run a study's base and variants, and write their paired differences as a record; "
        "a finished run costs nothing",
    )
    study.add_argument(
        "file", metavar="FILE", help="a study, such as experiments/studies/signals.yaml"
    )
    study.add_argument(
        "--jobs",
        type=int,
        default=1,
        help="processes that divide the runs (each gets its share of the cores)",
    )
    study.add_argument(
        "--report-only",
        action="store_true",
        help="run nothing that is missing; compare what is there",
    )
    study.add_argument(
        "--papermill",
        metavar="DIR",
        help="make each run by executing experiments/templates/ablation.ipynb; the notebooks "
        "are left in DIR",
    )
    study.add_argument("--share", metavar="I/N", default="0/1", help=argparse.SUPPRESS)
    study.add_argument("--records", metavar="DIR")
    study.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    study.set_defaults(command=_study)


def _study(args):
    from clmt_lib import records

    configs = [config for _, config in records.read_study(args.file)]
    code = 0 if args.report_only else _study_runs(args, configs)
    if _share(args)[1] > 1:  # one of several processes: the one that started them reports
        return code
    record = records.summarise_study(args.file, args.records)
    if record is None:
        print(
            "no variant has run beside its base yet; next: the same command without --report-only"
        )
        return code
    done = record.metrics["runs"]
    print(f"{done['done']} of {done['planned']} comparisons in; {record.path}")
    return code


def _study_runs(args, configs):
    """Run what is missing, in this process or in several; 1 where something failed."""
    from clmt_lib import records

    if args.jobs > 1:
        return _divided(
            args, ["study", args.file, *(["--papermill", args.papermill] if args.papermill else [])]
        )
    options = {"folder": args.records, "share": _share(args), "device": args.device, "say": _say}
    failed = (
        records.run_notebooks(args.file, args.papermill, **options)
        if args.papermill
        else records.run_study(args.file, **options)
    )
    return _told(configs, failed, args, "the report")


def _json(where, text):
    import json

    from clmt_lib.io import DataError

    try:
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("not an object")
        return found
    except ValueError as error:
        raise DataError(
            f"not JSON ({error})", file=where, remedy='write it as {"name": value}'
        ) from None


def _add_plan(commands):
    """`clmt plan`: what is missing, and what it will cost."""
    plan = commands.add_parser(
        "plan",
        help="which runs of a grid and of studies are missing, and what they will cost by "
        "earlier records; runs nothing",
    )
    plan.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        default=["experiments/grid.yaml"],
        help="grids and studies (default: experiments/grid.yaml)",
    )
    plan.add_argument(
        "--cores", type=int, default=1, help="cores that will share the work, for the estimate"
    )
    plan.add_argument(
        "--draws",
        action="store_true",
        help="count a record without its bootstrap draws as missing: tables need them",
    )
    plan.add_argument("--out", metavar="DIR", help="leave the plan here, for experiments/Snakefile")
    plan.add_argument("--records", metavar="DIR")
    plan.set_defaults(command=_plan)


def _plan(args):
    from clmt_lib import records

    jobs = records.plan(args.files, args.records, draws=args.draws)
    if args.out:
        records.write_plan(jobs, args.files, args.out)
    print(*records.format_plan(jobs, max(1, args.cores)), sep="\n")


def _add_report(commands):
    """`clmt report`: summaries of the runs of a grid."""
    report = commands.add_parser(
        "report",
        help="means, intervals and paired differences of the runs of a grid, as records the "
        "book reads",
    )
    report.add_argument("--grid", metavar="FILE", default="experiments/grid.yaml")
    report.add_argument("--only", metavar="BENCHMARK", help="the summaries of this benchmark alone")
    report.add_argument("--records", metavar="DIR")
    report.set_defaults(command=_report)


def _report(args):
    from itertools import groupby
    from pathlib import Path

    from clmt_lib import data, records

    stem = Path(args.grid).stem
    configs = sorted(
        _named(records.read_grid(args.grid), args.only), key=lambda c: (c.label, c.split)
    )
    for label, rows in groupby(configs, key=lambda c: c.label):
        rows = list(rows)
        benchmark = data.load(rows[0].dataset, **rows[0].options)
        for split, runs in groupby(rows, key=lambda c: c.split):
            record = records.summarise(
                list(runs), args.records, benchmark=benchmark, grid="" if stem == "grid" else stem
            )
            if record is not None:
                done = record.metrics["runs"]
                without = (
                    f", {done['without_draws']} without draws (clmt run --grid {args.grid} "
                    "--draws makes them)"
                    if done["without_draws"]
                    else ""
                )
                print(
                    f"{label} {split}: {done['done']} of {done['planned']} runs in{without}; "
                    f"{record.path}{_bounds(record)}",
                    flush=True,
                )
    print("next: make book")


def _bounds(record):
    """What to know of a summary whose responses are partly bounds."""
    share = max(
        (about.get("censored") or 0 for about in record.metrics["models"].values()), default=0
    )
    return (
        f"; {share:.0%} of its test responses are bounds, read as measured (`rmse_measured` "
        "leaves them out)"
        if share
        else ""
    )


def _add_audit(commands):
    """`clmt audit`: proofs that a benchmark, its split and a model are clean, or the leak's name."""
    audit = commands.add_parser(
        "audit", help="look for leaks in a benchmark, a split and, with --model, a fitted model"
    )
    audit.add_argument("--dataset", default="simulated")
    audit.add_argument("--split", default="mixed")
    audit.add_argument("--seed", type=int, default=0)
    audit.add_argument("--fold", type=int, default=0)
    audit.add_argument(
        "--model",
        metavar="NAME",
        help="also fit it where only the test role differs, and compare every fitted bit",
    )
    audit.set_defaults(command=_audit)


def _audit(args):
    from clmt_lib import data, models
    from clmt_lib.audit import audit, proves_blind

    benchmark = data.load(args.dataset)
    split = data.make_split(benchmark, args.split, args.seed, args.fold)
    reports = [audit(benchmark, split, graph_edges=benchmark.pairs[split.train].T)]
    if args.model:
        reports.append(
            proves_blind(
                lambda world, part: models.build(args.model).fit(world, part).state(),
                benchmark,
                split,
            )
        )
    print(*reports, sep="\n\n")
    return 0 if all(report.clean for report in reports) else 1


def _add_transfer(commands):
    """`clmt transfer`: fitted on one screen, asked about another."""
    transfer = commands.add_parser(
        "transfer",
        help="fit on one screen, compare with what another measured, as a record for each "
        "target; a finished fit costs nothing",
    )
    transfer.add_argument("file", metavar="FILE", help="such as experiments/transfer.yaml")
    transfer.add_argument("--records", metavar="DIR")
    transfer.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    transfer.set_defaults(command=_transfer)


def _transfer(args):
    from clmt_lib.records.transfer import run_transfer

    for record in run_transfer(args.file, args.records, device=args.device, say=_say):
        print(f"{record.path}: {len(record.metrics['rows'])} rows")
    print("next: make book")


PARTS = (
    _add_data,
    _add_run,
    _add_study,
    _add_plan,
    _add_report,
    _add_audit,
    _add_transfer,
)  # each adds one command and sets its function


def _data_list(args):
    from clmt_lib.data.download import SOURCES

    for source in SOURCES:
        print(source.notice(), end="\n\n")
    untried = sum(not source.tried for source in SOURCES)
    print(
        f"{len(SOURCES)} sources; {untried} addresses could not be tried from where this was "
        "written."
    )
    print("next: clmt data fetch KEY --to DIR (shows the terms), then again with --accept-terms")


def _data_fetch(args):
    from clmt_lib.data import download

    if args.key == "pubchem_smiles":
        from clmt_lib.data.response.prepare import drug_cids

        cids = set(drug_cids(args.to).values())
        found = download.pubchem_smiles(
            cids, args.to, accept_terms=args.accept_terms, base=args.mirror
        )
        print(f"{len(found)} structures of {len(cids)} compounds in {args.to}")
        return
    fetched = download.fetch(
        args.key,
        args.to,
        accept_terms=args.accept_terms,
        base=args.mirror,
        progress=_progress if sys.stderr.isatty() else None,
    )
    print(f"{fetched.path}: {fetched.size} bytes, sha256 {fetched.sha256}")
    print("next: fetch the other sources, then clmt data prepare DOWNLOADS OUT")


def _progress(done, total):
    end = "\n" if done == total else ""
    print(
        f"\r  {done / 1e6:.1f} of {total / 1e6 if total else float('nan'):.1f} MB",
        end=end,
        file=sys.stderr,
        flush=True,
    )


def _data_prepare(args):
    from clmt_lib.data.response.prepare import prepare

    done = prepare(args.downloads, args.out, genes=_genes(args.genes) if args.genes else None)
    for kind, about in done.sources.items():
        print(f"{kind}: {about['file']}")
    for kind, consequence in done.missing.items():
        print(f"{kind}: MISSING ({consequence})")
    for note in done.notes:
        print(f"note: {note}")
    print(done.manifest[["file", "shape", "bytes"]].to_string(index=False))
    print(f"next: export CLMT_DATA='{done.folder}', then clmt data check")


def _genes(path):
    from clmt_lib.io import DataError

    try:
        with open(path, encoding="utf-8") as lines:
            genes = [line.strip() for line in lines if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"list of genes cannot be read ({error})",
            file=path,
            remedy="name a UTF-8 text file with one gene symbol a line",
        ) from None
    if not genes:
        raise DataError("empty list of genes", file=path, remedy="one gene symbol a line")
    return genes


def _data_check(args):
    from clmt_lib.data import BENCHMARKS, load
    from clmt_lib.data import RESPONSES as responses
    from clmt_lib.io import DataError, locate

    folder = locate(args.folder)
    here = [
        name for name in BENCHMARKS if name not in responses or (folder / responses[name]).exists()
    ]
    if not set(here) & set(responses):
        raise DataError(
            "no benchmark in this folder",
            file=folder,
            remedy=f"it should hold {' or '.join(responses.values())}: see `clmt data prepare`",
        )
    print(f"{'benchmark':<10} {'lines':>6} {'drugs':>6} {'pairs':>8}  checksum")
    for name in BENCHMARKS:
        if name not in here:
            print(f"{name:<10} not in this folder ({responses[name]})")
            continue
        benchmark = load(name, **({"folder": folder} if name in responses else {}))
        print(
            f"{name:<10} {benchmark.n_cells:>6} {benchmark.n_drugs:>6} {len(benchmark):>8}  "
            f"{benchmark.checksum}{_about(benchmark)}",
            flush=True,
        )


def _about(benchmark):
    """What sets a benchmark apart, for the end of its line: another target, responses that are
    bounds.
    """
    bound = benchmark.censored.mean()
    return (f"  target {benchmark.target}" if benchmark.target != "ln_ic50" else "") + (
        f"  {bound:.0%} are bounds (censored)" if bound else ""
    )


if __name__ == "__main__":
    raise SystemExit(main())

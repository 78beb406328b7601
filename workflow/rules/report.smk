"""The report: tables, figures and one page."""

from elision.report import CURVES, FORMATS, asked, figure_names, table_names
from elision.report.table import all_tables

ASKED = asked(PARAMS)


if PARAMS.report.check:

    rule examine:
        input:
            [
                path
                for dataset in PARAMS.datasets
                for method, variant in PARAMS.trained.items()
                for path in first_run(
                    dataset, method, parameters.retrieves(variant.method)
                )
            ],
            samples=[RESULTS.samples(dataset) for dataset in PARAMS.datasets],
        output:
            RESULTS.root / "checks.parquet",
        log:
            RESULTS.log("examine"),
        benchmark:
            RESULTS.benchmark("examine")
        conda:
            TRAINING_ENVIRONMENT
        threads: PARAMS.train.threads
        resources:
            mem_mb=lambda w, attempt: 8000 * attempt,
            runtime=240,
        params:
            recipe=lambda w: RECIPES.examine["identity"],
        shell:
            "python -m elision examine --recipe {params.recipe} > {log} 2>&1"


rule report:
    input:
        RESULTS.root / "metrics.parquet",
        RESULTS.root / "confusions.parquet",
        RESULTS.root / "intervals.parquet",
        RESULTS.root / "comparisons.parquet",
        [RESULTS.root / "checks.parquet"] if PARAMS.report.check else [],
        records=[p for p in FILES["models"] if p.name in ("run.json", "history.csv")],
        representations=FILES["representations"],
        tuning=FILES["tuning"],
        measured=[
            RESULTS.corrupted(dataset, kind)[1]
            for dataset in PARAMS.datasets
            for kind in PARAMS.media_for(dataset)
        ],
    output:
        page=report(
            RESULTS.root / "report.html",
            caption="../report/page.rst",
            category="Report",
            labels={"page": "everything on one page"},
        ),
        tables=[
            report(
                RESULTS.root / f"tables/{table}.{kind}",
                caption="../report/tables.rst",
                category="Tables",
                labels={
                    "table": table,
                    "shows": all_tables()[table].caption,
                    "format": kind,
                },
            )
            for table in table_names(ASKED)
            for kind in ("csv", "md", "tex")
        ],
        figures=[
            report(
                RESULTS.root / f"figures/{figure}_{name}.{kind}",
                caption="../report/figures.rst",
                category="Figures",
                subcategory=name,
                labels={"figure": figure, "format": kind},
            )
            for name, figure in figure_names(ASKED)
            for kind in FORMATS
        ],
        curves=[RESULTS.root / f"plots/{curve}.csv" for curve in CURVES],
    log:
        RESULTS.log("report"),
    benchmark:
        RESULTS.benchmark("report")
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=30,
    params:
        recipe=lambda w: RECIPES.report["identity"],
    shell:
        "python -m elision report --recipe {params.recipe} > {log} 2>&1"

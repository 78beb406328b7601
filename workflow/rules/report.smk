"""The report: tables, figures and one page."""

from elision.report import TABLES, figure_kinds

FIGURES = [
    f"{kind}_{name}"
    for name, dataset in PARAMS.datasets.items()
    for kind in figure_kinds(dataset.task)
]


rule report:
    input:
        "results/metrics.parquet",
        "results/confusions.parquet",
        records=[
            p
            for p in RESULTS.stage("models", PARAMS)
            if p.name in ("run.json", "history.csv")
        ],
    output:
        page=report(
            "results/report.html", caption="../report/page.rst", category="Report"
        ),
        tables=report(
            expand(
                "results/tables/{table}.{kind}",
                table=TABLES,
                kind=["csv", "md", "tex"],
            ),
            caption="../report/tables.rst",
            category="Tables",
        ),
        figures=report(
            expand(
                "results/figures/{figure}.{kind}",
                figure=FIGURES,
                kind=["svg", "png"],
            ),
            caption="../report/figures.rst",
            category="Figures",
        ),
    log:
        "results/logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        recipe=RECIPES.report["identity"],
    shell:
        "python -m elision report --recipe {params.recipe} > {log} 2>&1"

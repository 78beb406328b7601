"""Evaluation: predictions of every run under every test condition, metrics, intervals and comparisons."""

FIRST_RUNS = {PARAMS.runs(dataset)[0] for dataset in PARAMS.datasets}
LATER_RUNS = {
    run for dataset in PARAMS.datasets for run in PARAMS.runs(dataset)
} - FIRST_RUNS


rule evaluate:
    input:
        RESULTS.model("{dataset}", "{method}", "{run}"),
        RESULTS.corruptions("{dataset}"),
        database,
        samples=RESULTS.samples("{dataset}"),
        alignment=RESULTS.alignment("{dataset}"),
        vectors=text_vectors,
    output:
        RESULTS.predictions("{dataset}", "{method}", "{run}"),
    log:
        RESULTS.log("evaluate", "{dataset}", "{method}", "{run}"),
    benchmark:
        RESULTS.benchmark("evaluate", "{dataset}", "{method}", "{run}")
    wildcard_constraints:
        run=any_of(LATER_RUNS),
    conda:
        TRAINING_ENVIRONMENT
    threads: PARAMS.train.threads
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=240,
        gpu=TRAINING_GPUS,
    params:
        recipe=lambda w: RECIPES.evaluate(w.dataset, w.method, w.run)["identity"],
    shell:
        "python -m elision evaluate --dataset {wildcards.dataset} --method {wildcards.method} --run {wildcards.run}"
        " --recipe {params.recipe} > {log} 2>&1"


# The first run of each method is represented, too: two files of one job.
use rule evaluate as evaluate_first with:
    output:
        RESULTS.predictions("{dataset}", "{method}", "{run}"),
        RESULTS.representations("{dataset}", "{method}", "{run}"),
    wildcard_constraints:
        run=any_of(FIRST_RUNS),


rule predictions:
    input:
        FILES["predictions"],
    output:
        RESULTS.manifest("predictions"),
    log:
        RESULTS.log("collect", "predictions"),
    conda:
        "../../envs/report.yaml"
    shell:
        "python -m elision collect predictions > {log} 2>&1"


rule representations:
    input:
        FILES["representations"],
    output:
        RESULTS.manifest("representations"),
    log:
        RESULTS.log("collect", "representations"),
    conda:
        "../../envs/report.yaml"
    shell:
        "python -m elision collect representations > {log} 2>&1"


rule aggregate:
    input:
        FILES["predictions"],
    output:
        RESULTS.root / "metrics.parquet",
        RESULTS.root / "confusions.parquet",
        RESULTS.root / "metrics.json",
    log:
        RESULTS.log("aggregate"),
    benchmark:
        RESULTS.benchmark("aggregate")
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=30,
    params:
        recipe=lambda w: RECIPES.aggregate["identity"],
    shell:
        "python -m elision aggregate --recipe {params.recipe} > {log} 2>&1"


rule significance:
    input:
        FILES["predictions"],
        samples=[RESULTS.samples(dataset) for dataset in PARAMS.datasets],
    output:
        RESULTS.root / "intervals.parquet",
        RESULTS.root / "comparisons.parquet",
    log:
        RESULTS.log("significance"),
    benchmark:
        RESULTS.benchmark("significance")
    conda:
        "../../envs/report.yaml"
    threads: 2
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=60,
    params:
        recipe=lambda w: RECIPES.significance["identity"],
    shell:
        "python -m elision significance --recipe {params.recipe} > {log} 2>&1"

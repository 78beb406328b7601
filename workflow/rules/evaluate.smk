"""Evaluation: predictions of every run under every test condition, the metrics of all, and how sure they are."""


rule evaluate:
    input:
        RESULTS.model("{dataset}", "{method}", "{run}"),
        RESULTS.corruptions("{dataset}"),
        database,
        samples=RESULTS.samples("{dataset}"),
        alignment=RESULTS.alignment("{dataset}"),
    output:
        RESULTS.predictions("{dataset}", "{method}", "{run}"),
    log:
        "results/logs/evaluate/{dataset}.{method}.{run}.log",
    benchmark:
        "results/benchmarks/evaluate/{dataset}.{method}.{run}.tsv"
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


rule represent:
    input:
        RESULTS.model("{dataset}", "{method}", "{run}"),
        RESULTS.corruptions("{dataset}"),
        database,
        samples=RESULTS.samples("{dataset}"),
        alignment=RESULTS.alignment("{dataset}"),
    output:
        RESULTS.representations("{dataset}", "{method}", "{run}"),
    log:
        "results/logs/represent/{dataset}.{method}.{run}.log",
    benchmark:
        "results/benchmarks/represent/{dataset}.{method}.{run}.tsv"
    conda:
        TRAINING_ENVIRONMENT
    threads: PARAMS.train.threads
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=60,
        gpu=TRAINING_GPUS,
    params:
        recipe=lambda w: RECIPES.represent(w.dataset, w.method, w.run)["identity"],
    shell:
        "python -m elision represent --dataset {wildcards.dataset} --method {wildcards.method} --run {wildcards.run}"
        " --recipe {params.recipe} > {log} 2>&1"


rule predictions:
    input:
        RESULTS.stage("predictions", PARAMS),
    output:
        "results/predictions/MANIFEST",
    log:
        "results/logs/collect/predictions.log",
    conda:
        "../../envs/report.yaml"
    shell:
        "python -m elision collect predictions > {log} 2>&1"


rule representations:
    input:
        RESULTS.stage("representations", PARAMS),
    output:
        "results/representations/MANIFEST",
    log:
        "results/logs/collect/representations.log",
    conda:
        "../../envs/report.yaml"
    shell:
        "python -m elision collect representations > {log} 2>&1"


rule aggregate:
    input:
        RESULTS.stage("predictions", PARAMS),
    output:
        "results/metrics.parquet",
        "results/confusions.parquet",
        "results/metrics.json",
    log:
        "results/logs/aggregate.log",
    benchmark:
        "results/benchmarks/aggregate.tsv"
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
        RESULTS.stage("predictions", PARAMS),
        samples=[RESULTS.samples(dataset) for dataset in PARAMS.datasets],
    output:
        "results/intervals.parquet",
        "results/comparisons.parquet",
    log:
        "results/logs/significance.log",
    benchmark:
        "results/benchmarks/significance.tsv"
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

"""Training: one job per dataset, method and run."""


rule train:
    input:
        samples=RESULTS.samples("{dataset}"),
        alignment=RESULTS.alignment("{dataset}"),
        corruptions=(
            RESULTS.corruptions("{dataset}")
            if PARAMS.train.selection == "test_oracle"
            else []
        ),
    output:
        RESULTS.model("{dataset}", "{method}", "{run}"),
    log:
        "results/logs/train/{dataset}.{method}.{run}.log",
    benchmark:
        "results/benchmarks/train/{dataset}.{method}.{run}.tsv"
    conda:
        "../../envs/train.yaml"
    threads: PARAMS.train.threads
    resources:
        mem_mb=8000,
        runtime=1440,
        gpu=TRAINING_GPUS,
    params:
        recipe=lambda w: RECIPES.train(w.dataset, w.method, w.run)["identity"],
    shell:
        "python -m elision train --dataset {wildcards.dataset} --method {wildcards.method} --run {wildcards.run}"
        " --recipe {params.recipe} > {log} 2>&1"


rule models:
    input:
        RESULTS.stage("models", PARAMS),
    output:
        "results/models/MANIFEST",
    log:
        "results/logs/collect/models.log",
    conda:
        "../../envs/report.yaml"
    shell:
        "python -m elision collect models > {log} 2>&1"

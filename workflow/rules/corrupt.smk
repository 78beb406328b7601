"""Corruption: every test condition of a dataset, fixed once for all methods."""


rule corrupt:
    input:
        samples=RESULTS.samples("{dataset}"),
    output:
        RESULTS.corruptions("{dataset}"),
    log:
        "results/logs/corrupt/{dataset}.log",
    benchmark:
        "results/benchmarks/corrupt/{dataset}.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=30,
    params:
        recipe=lambda w: RECIPES.corrupt(w.dataset)["identity"],
    shell:
        "python -m elision corrupt --dataset {wildcards.dataset} --recipe {params.recipe} > {log} 2>&1"


rule corruptions:
    input:
        RESULTS.stage("corruptions", PARAMS),
    output:
        "results/corruptions/MANIFEST",
    log:
        "results/logs/collect/corruptions.log",
    conda:
        "../../envs/report.yaml"
    shell:
        "python -m elision collect corruptions > {log} 2>&1"

"""Corruption: every test condition of a dataset, fixed once for all methods."""


rule corrupt:
    input:
        samples=RESULTS.samples("{dataset}"),
        alignment=lambda w: (
            RESULTS.alignment(w.dataset)
            if parameters.asks_for_times(PARAMS, w.dataset)
            else []
        ),
    output:
        RESULTS.corruptions("{dataset}"),
    log:
        RESULTS.log("corrupt", "{dataset}"),
    benchmark:
        RESULTS.benchmark("corrupt", "{dataset}")
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
        FILES["corruptions"],
    output:
        RESULTS.manifest("corruptions"),
    log:
        RESULTS.log("collect", "corruptions"),
    conda:
        "../../envs/report.yaml"
    shell:
        "python -m elision collect corruptions > {log} 2>&1"

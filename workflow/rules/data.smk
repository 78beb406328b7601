"""Datasets: media become a table of clips; feature files become a store at once. Both are checked."""

MEDIA = [name for name in PARAMS.datasets if parameters.extracted(PARAMS, name)]
SEQUENCES = [name for name in PARAMS.datasets if name not in MEDIA]


rule prepare_clips:
    input:
        user_files,
    output:
        clips=RESULTS.clips("{dataset}"),
    log:
        RESULTS.log("prepare", "{dataset}"),
    benchmark:
        RESULTS.benchmark("prepare", "{dataset}")
    wildcard_constraints:
        dataset=any_of(MEDIA),
    conda:
        "../../envs/data.yaml"
    threads: 8
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=240,
    params:
        recipe=lambda w: RECIPES.prepare(w.dataset)["identity"],
    shell:
        "python -m elision prepare --dataset {wildcards.dataset} --recipe {params.recipe} > {log} 2>&1"


rule prepare_sequences:
    input:
        user_files,
    output:
        samples=RESULTS.samples("{dataset}"),
    log:
        RESULTS.log("prepare", "{dataset}"),
    benchmark:
        RESULTS.benchmark("prepare", "{dataset}")
    wildcard_constraints:
        dataset=any_of(SEQUENCES),
    conda:
        "../../envs/features.yaml"
    resources:
        mem_mb=lambda w, attempt: 16000 * attempt,
        runtime=120,
    params:
        recipe=lambda w: RECIPES.prepare(w.dataset)["identity"],
    shell:
        "python -m elision prepare --dataset {wildcards.dataset} --recipe {params.recipe} > {log} 2>&1"


rule datasets:
    input:
        FILES["datasets"],
    output:
        RESULTS.manifest("datasets"),
    log:
        RESULTS.log("collect", "datasets"),
    conda:
        "../../envs/report.yaml"
    shell:
        "python -m elision collect datasets > {log} 2>&1"

"""Datasets: made, or read and checked; from media to a table of clips, from feature files straight to a store."""

MEDIA = [name for name in PARAMS.datasets if parameters.extracted(PARAMS, name)]
SEQUENCES = [name for name in PARAMS.datasets if name not in MEDIA]


def user_files(wildcards):
    """Return the user's own files that a dataset reads."""
    settings = PARAMS.datasets[wildcards.dataset]
    return parameters.dataset_source(settings.source).inputs(settings)


rule prepare_clips:
    input:
        user_files,
    output:
        clips=RESULTS.clips("{dataset}"),
    params:
        recipe=lambda w: RECIPES.prepare(w.dataset)["identity"],
    wildcard_constraints:
        dataset=any_of(MEDIA),
    threads: 8
    resources:
        mem_mb=4000,
        runtime=240,
    log:
        "results/logs/prepare/{dataset}.log",
    benchmark:
        "results/benchmarks/prepare/{dataset}.tsv"
    conda:
        "../../envs/data.yaml"
    shell:
        "python -m elision prepare --dataset {wildcards.dataset} --recipe {params.recipe} > {log} 2>&1"


rule prepare_sequences:
    input:
        user_files,
    output:
        samples=RESULTS.samples("{dataset}"),
    params:
        recipe=lambda w: RECIPES.prepare(w.dataset)["identity"],
    wildcard_constraints:
        dataset=any_of(SEQUENCES),
    resources:
        mem_mb=16000,
        runtime=120,
    log:
        "results/logs/prepare/{dataset}.log",
    benchmark:
        "results/benchmarks/prepare/{dataset}.tsv"
    conda:
        "../../envs/data.yaml"
    shell:
        "python -m elision prepare --dataset {wildcards.dataset} --recipe {params.recipe} > {log} 2>&1"


rule datasets:
    input:
        RESULTS.stage("datasets", PARAMS),
    output:
        "results/datasets/MANIFEST",
    log:
        "results/logs/collect/datasets.log",
    conda:
        "../../envs/report.yaml"
    shell:
        "python -m elision collect datasets > {log} 2>&1"

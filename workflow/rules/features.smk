"""Features: one job per modality and shard of the clips, then merged into the store; the text aligned and encoded."""

SHARDS = range(PARAMS.features.shards)


rule extract:
    input:
        clips=RESULTS.clips("{dataset}"),
    output:
        temp(RESULTS.shard("{dataset}", "{modality}", "{shard}")),
    log:
        RESULTS.log("extract", "{dataset}", "{modality}", "{shard}"),
    benchmark:
        RESULTS.benchmark("extract", "{dataset}", "{modality}", "{shard}")
    conda:
        lambda w: f"../../envs/{'pyfeat' if of_pyfeat(w.dataset) and w.modality == 'vision' else 'hf' if of_hub(w.dataset, w.modality) else 'features'}.yaml"
    resources:
        mem_mb=lambda w, attempt: (8000 if of_hub(w.dataset, w.modality) else 4000)
        * attempt,
        runtime=240,
        gpu=lambda w: extraction_gpus(w.dataset, w.modality),
    params:
        recipe=lambda w: RECIPES.extract(w.dataset, w.modality)["identity"],
    shell:
        "python -m elision extract {wildcards.modality} --dataset {wildcards.dataset} --shard {wildcards.shard}"
        " --recipe {params.recipe} > {log} 2>&1"


rule merge:
    input:
        clips=RESULTS.clips("{dataset}"),
        shards=[RESULTS.shard("{dataset}", "{modality}", shard) for shard in SHARDS],
    output:
        RESULTS.sequences("{dataset}", "{modality}"),
    log:
        RESULTS.log("merge", "{dataset}", "{modality}"),
    benchmark:
        RESULTS.benchmark("merge", "{dataset}", "{modality}")
    wildcard_constraints:
        dataset=any_of(MEDIA),
    conda:
        "../../envs/features.yaml"
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=60,
    params:
        recipe=lambda w: RECIPES.extract(w.dataset, w.modality)["identity"],
    shell:
        "python -m elision merge {wildcards.modality} --dataset {wildcards.dataset} --recipe {params.recipe} > {log} 2>&1"


rule assemble:
    input:
        lambda w: [
            RESULTS.sequences(w.dataset, modality)
            for modality in parameters.extracted(PARAMS, w.dataset)
        ],
        clips=RESULTS.clips("{dataset}"),
    output:
        samples=RESULTS.samples("{dataset}"),
    log:
        RESULTS.log("assemble", "{dataset}"),
    benchmark:
        RESULTS.benchmark("assemble", "{dataset}")
    wildcard_constraints:
        dataset=any_of(MEDIA),
    conda:
        "../../envs/features.yaml"
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=60,
    params:
        recipe=lambda w: RECIPES.store(w.dataset)["identity"],
    shell:
        "python -m elision assemble --dataset {wildcards.dataset} --recipe {params.recipe} > {log} 2>&1"


rule align:
    input:
        samples=RESULTS.samples("{dataset}"),
    output:
        RESULTS.alignment("{dataset}"),
    log:
        RESULTS.log("align", "{dataset}"),
    benchmark:
        RESULTS.benchmark("align", "{dataset}")
    conda:
        "../../envs/features.yaml"
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=60,
    params:
        recipe=lambda w: RECIPES.align(w.dataset)["identity"],
    shell:
        "python -m elision align --dataset {wildcards.dataset} --recipe {params.recipe} > {log} 2>&1"


rule encode:
    input:
        samples=RESULTS.samples("{dataset}"),
    output:
        RESULTS.text_vectors("{dataset}"),
    log:
        RESULTS.log("encode", "{dataset}"),
    benchmark:
        RESULTS.benchmark("encode", "{dataset}")
    conda:
        TRAINING_ENVIRONMENT
    threads: PARAMS.train.threads
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=240,
        gpu=TRAINING_GPUS,
    params:
        recipe=lambda w: RECIPES.encode(w.dataset)["identity"],
    shell:
        "python -m elision encode --dataset {wildcards.dataset} --recipe {params.recipe} > {log} 2>&1"

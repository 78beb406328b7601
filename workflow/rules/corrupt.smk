"""Corruption: every test condition of a dataset, fixed once for all methods; corrupted clips, extracted again."""


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


rule corrupt_media:
    input:
        clips=RESULTS.clips("{dataset}"),
        samples=RESULTS.samples("{dataset}"),
    output:
        temp(RESULTS.corrupted_shard("{dataset}", "{kind}", "{shard}")),
    log:
        RESULTS.log("corrupt_media", "{dataset}", "{kind}", "{shard}"),
    benchmark:
        RESULTS.benchmark("corrupt_media", "{dataset}", "{kind}", "{shard}")
    conda:
        lambda w: f"../../envs/{'pyfeat' if of_pyfeat(w.dataset) and changed(w) == 'vision' else 'hf' if of_hub(w.dataset, changed(w)) else 'features'}.yaml"
    resources:
        mem_mb=lambda w, attempt: (8000 if of_hub(w.dataset, changed(w)) else 4000)
        * attempt,
        runtime=480,
        gpu=lambda w: max(
            extraction_gpus(w.dataset, changed(w)), int(GPUS > 0 and recognised(w))
        ),
    params:
        recipe=lambda w: RECIPES.corrupt_media(w.dataset, w.kind)["identity"],
    shell:
        "python -m elision corrupt-clips --dataset {wildcards.dataset} --kind {wildcards.kind}"
        " --shard {wildcards.shard} --recipe {params.recipe} > {log} 2>&1"


rule merge_media:
    input:
        samples=RESULTS.samples("{dataset}"),
        shards=[
            RESULTS.corrupted_shard("{dataset}", "{kind}", shard) for shard in SHARDS
        ],
    output:
        RESULTS.corrupted("{dataset}", "{kind}"),
    log:
        RESULTS.log("merge_media", "{dataset}", "{kind}"),
    benchmark:
        RESULTS.benchmark("merge_media", "{dataset}", "{kind}")
    conda:
        "../../envs/features.yaml"
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=60,
    params:
        recipe=lambda w: RECIPES.corrupt_media(w.dataset, w.kind)["identity"],
    shell:
        "python -m elision merge-clips --dataset {wildcards.dataset} --kind {wildcards.kind}"
        " --recipe {params.recipe} > {log} 2>&1"


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

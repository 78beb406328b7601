"""Evaluation: predictions of every run under every test condition, metrics, intervals and comparisons."""

for name, job in {**EVALUATION, **EVALUATION_OF_FIRST}.items():

    rule:
        name:
            name
        input:
            job.each(trained),
            lambda w: RESULTS.corruptions(TESTED_ON[w.dataset]),
            corrupted_clips,
            job.each(database),
            samples=lambda w: RESULTS.samples(TESTED_ON[w.dataset]),
            alignment=lambda w: RESULTS.alignment(TESTED_ON[w.dataset]),
            vectors=text_vectors,
            tuned=job.each(tuned),
        output:
            job.output(RESULTS.predictions),
            (
                job.output(RESULTS.representations, job.runs[:1])
                if name in EVALUATION_OF_FIRST
                else []
            ),
        log:
            RESULTS.log("evaluate", "{dataset}", "{method}", job.name),
        benchmark:
            RESULTS.benchmark("evaluate", "{dataset}", "{method}", job.name)
        wildcard_constraints:
            dataset=job.datasets,
            run=job.pattern,
        conda:
            TRAINING_ENVIRONMENT
        threads: PARAMS.train.threads
        resources:
            mem_mb=lambda w, attempt: 8000 * attempt,
            runtime=240,
            gpu=TRAINING_GPUS,
        params:
            recipe=common(RECIPES.evaluate),
            runs=job.told(RECIPES.evaluate),
        shell:
            "python -m elision evaluate --dataset {wildcards.dataset} --method {wildcards.method} {params.runs}"
            " > {log} 2>&1"


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

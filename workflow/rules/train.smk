"""Training: one job per dataset, method and run (or several runs), after the teachers that a method starts from."""

for name, job in TRAINING.items():

    rule:
        name:
            name
        input:
            samples=RESULTS.samples("{dataset}"),
            alignment=RESULTS.alignment("{dataset}"),
            vectors=text_vectors,
            starts=job.each(starts),
            tuned=job.each(tuned),
            corruptions=lambda w: (
                RESULTS.corruptions(w.dataset)
                if PARAMS.chosen_on_test(w.dataset, w.method)
                else []
            ),
        output:
            job.output(RESULTS.model),
        log:
            RESULTS.log("train", "{dataset}", "{method}", job.name),
        benchmark:
            RESULTS.benchmark("train", "{dataset}", "{method}", job.name)
        wildcard_constraints:
            dataset=job.datasets,
            run=job.pattern,
        conda:
            TRAINING_ENVIRONMENT
        threads: PARAMS.train.threads
        resources:
            mem_mb=lambda w, attempt: 8000 * attempt,
            runtime=1440,
            gpu=TRAINING_GPUS,
        params:
            recipe=common(RECIPES.train),
            runs=job.told(RECIPES.train),
        shell:
            "python -m elision train --dataset {wildcards.dataset} --method {wildcards.method} {params.runs}"
            " > {log} 2>&1"


rule index:
    input:
        RESULTS.model("{dataset}", "{method}", "{run}"),
        samples=RESULTS.samples("{dataset}"),
        vectors=text_vectors,
    output:
        RESULTS.database_files("{dataset}", "{method}", "{run}"),
    log:
        RESULTS.log("index", "{dataset}", "{method}", "{run}"),
    benchmark:
        RESULTS.benchmark("index", "{dataset}", "{method}", "{run}")
    conda:
        TRAINING_ENVIRONMENT
    threads: PARAMS.train.threads
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=240,
        gpu=TRAINING_GPUS,
    params:
        recipe=lambda w: RECIPES.index(w.dataset, w.method, w.run)["identity"],
    shell:
        "python -m elision index --dataset {wildcards.dataset} --teacher {wildcards.method} --run {wildcards.run}"
        " --recipe {params.recipe} > {log} 2>&1"


rule models:
    input:
        FILES["models"],
    output:
        RESULTS.manifest("models"),
    log:
        RESULTS.log("collect", "models"),
    conda:
        "../../envs/report.yaml"
    shell:
        "python -m elision collect models > {log} 2>&1"

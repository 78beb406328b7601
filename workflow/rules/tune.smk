"""Tuning: a search per dataset, method and fold, before the trainings that it tunes. Nothing asks for it without `tune`."""

ROUNDS = PARAMS.tune is not None and PARAMS.tune.trials_at_once > 1


if PARAMS.tune:

    rule tune:
        input:
            (
                [
                    RESULTS.trial("{dataset}", "{method}", "{run}", number)
                    for number in range(PARAMS.tune.trials)
                ]
                if ROUNDS
                else []
            ),
            samples=RESULTS.samples("{dataset}"),
            alignment=RESULTS.alignment("{dataset}"),
            vectors=text_vectors,
            starts=lambda w: starts(w, w.run),
        output:
            RESULTS.trials("{dataset}", "{method}", "{run}"),
        log:
            RESULTS.log("tune", "{dataset}", "{method}", "{run}"),
        benchmark:
            RESULTS.benchmark("tune", "{dataset}", "{method}", "{run}")
        wildcard_constraints:
            method=any_of(PARAMS.tuned),
        conda:
            TRAINING_ENVIRONMENT
        threads: PARAMS.train.threads
        resources:
            mem_mb=lambda w, attempt: 8000 * attempt,
            runtime=2880,
            gpu=TRAINING_GPUS,
        params:
            recipe=lambda w: RECIPES.tune(w.dataset, w.method, w.run)["identity"],
        shell:
            "python -m elision tune --dataset {wildcards.dataset} --method {wildcards.method} --run {wildcards.run}"
            " --recipe {params.recipe} > {log} 2>&1"


if ROUNDS:

    rule tune_trial:
        input:
            trials_before,
            samples=RESULTS.samples("{dataset}"),
            alignment=RESULTS.alignment("{dataset}"),
            vectors=text_vectors,
            starts=lambda w: starts(w, w.run),
        output:
            RESULTS.trial("{dataset}", "{method}", "{run}", "{trial}"),
        log:
            RESULTS.log("tune_trial", "{dataset}", "{method}", "{run}", "{trial}"),
        benchmark:
            RESULTS.benchmark("tune_trial", "{dataset}", "{method}", "{run}", "{trial}")
        wildcard_constraints:
            method=any_of(PARAMS.tuned),
            trial=r"\d+",
        conda:
            TRAINING_ENVIRONMENT
        threads: PARAMS.train.threads
        resources:
            mem_mb=lambda w, attempt: 8000 * attempt,
            runtime=1440,
            gpu=TRAINING_GPUS,
        params:
            recipe=lambda w: RECIPES.trial(w.dataset, w.method, w.run)["identity"],
        shell:
            "python -m elision tune --dataset {wildcards.dataset} --method {wildcards.method} --run {wildcards.run}"
            " --trial {wildcards.trial} --recipe {params.recipe} > {log} 2>&1"


rule tuning:
    input:
        FILES["tuning"],
    output:
        RESULTS.manifest("tuning"),
    log:
        RESULTS.log("collect", "tuning"),
    conda:
        "../../envs/report.yaml"
    shell:
        "python -m elision collect tuning > {log} 2>&1"

"""From raw clips to a report on robustness under missing data. Every rule calls one verb of the package elision."""

from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/common.smk"


wildcard_constraints:
    dataset=any_of(PARAMS.datasets),
    method=any_of(PARAMS.trained),
    run=any_of({run for name in PARAMS.datasets for run in PARAMS.runs(name)}),
    modality="text|audio|vision",
    shard=r"\d+",
    kind=any_of({kind for name in PARAMS.datasets for kind in PARAMS.media_for(name)}),


include: "workflow/rules/data.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/corrupt.smk"
include: "workflow/rules/tune.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


onstart:
    adopt.begin(PARAMS, RESULTS)


onsuccess:
    if told := kept.notice(RESULTS):
        print(told)


localrules:
    all,
    datasets,
    corruptions,
    tuning,
    models,
    predictions,
    representations,


rule all:
    default_target: True
    input:
        rules.aggregate.output,
        rules.significance.output,
        rules.report.output,
        RESULTS.manifest("datasets"),
        RESULTS.manifest("corruptions"),
        RESULTS.manifest("tuning") if PARAMS.tune else [],
        RESULTS.manifest("models"),
        RESULTS.manifest("predictions"),
        RESULTS.manifest("representations"),

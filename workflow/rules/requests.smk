# What runs only when asked for by name. The maps of surprise, once made, are kept up to date.
include: "survey.smk"
include: "recheck.smk"
include: "segments.smk"
include: "surprise.smk"
include: "benchmarks.smk"

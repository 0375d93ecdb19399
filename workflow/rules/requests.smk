# What runs only when asked for by name, and changes nothing below results/.
include: "survey.smk"
include: "recheck.smk"
include: "segments.smk"

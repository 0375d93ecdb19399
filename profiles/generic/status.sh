#!/bin/sh
# Prints running, success or failed for a SLURM job, with or without accounting.
said=$(scontrol --oneliner show job "$1" 2>&1)
state=$(printf '%s\n' "$said" | grep -o 'JobState=[A-Z_]*' | head -n 1 | cut -d= -f2)
case $said in
    # Forgotten by the controller, so it does not run: accounting, if there is any, knows how it ended.
    *'Invalid job id'*)
        state=$(sacct -X -n -P -j "$1" -o State 2>/dev/null | head -n 1 | cut -d' ' -f1)
        state=${state:-FORGOTTEN} ;;
esac
case $state in
    COMPLETED) echo success ;;
    # No answer is no news: the controller may be restarting.
    '' | PENDING | CONFIGURING | RUNNING | COMPLETING | SUSPENDED | REQUEUED | RESIZING | STAGE_OUT)
        echo running ;;
    *) echo failed ;;
esac

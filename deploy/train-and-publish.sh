#!/bin/sh
# The one-shot job of docker-compose.yml: train a release and publish it. What is finished is not redone.
# DATASET   a prepared data set (userip prepare); without one, a simulated data set is written and used
# RUN       where the run goes; RUN/release is what the service loads
# BANK      the bank's URL
# PRESET    quick, default or paper
set -eu

if [ ! -f "$DATASET/dataset.json" ]; then
    DATASET=$(dirname "$RUN")/simulated
    if [ ! -f "$DATASET/dataset.json" ]; then
        userip simulate --out "$DATASET"
    fi
fi
userip train --dataset "$DATASET" --out "$RUN" --preset "$PRESET"
userip publish --release "$RUN/release" --bank "$BANK"

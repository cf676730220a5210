# The studies of this folder; about.NAME is the line of study NAME in `make help`.
modulo_arithmetic_STUDIES := modulo_data modulo_grokking

about.modulo_data := 2 to 70 per cent of the pairs of addition modulo 97
about.modulo_grokking := checkpoints along one run that groks addition modulo 97

# The studies of this folder; about.NAME is the line of study NAME in `make help`.
swiss_roll_STUDIES := swiss_data_x5 swiss_data_x5_beyond swiss_data_x6 swiss_poison_x5 swiss_poison_x6
# Small networks: one process runs all repeats of a stage.
swiss_roll_TOGETHER := $(swiss_roll_STUDIES)

about.swiss_data_x5 := 20 to 800 points of two spirals, five hidden layers, every nested landscape
about.swiss_data_x5_beyond := the same minima in landscapes between and beyond their training sets: which is the largest
about.swiss_data_x6 := 20 to 800 points of two spirals, six hidden layers, every nested landscape
about.swiss_poison_x5 := mislabelled extras on two spirals, five hidden layers
about.swiss_poison_x6 := mislabelled extras on two spirals, six hidden layers

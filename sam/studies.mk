# The studies of this folder; about.NAME is the line of study NAME in `make help`.
sam_STUDIES := mnist_sam swiss_sam cifar_sam
# Small networks: one process runs all repeats of a stage.
sam_TOGETHER := swiss_sam

about.mnist_sam := mnist_data trained with sharpness-aware minimisation
about.swiss_sam := 20 to 800 points of two spirals, sharpness-aware minimisation, 1,500 epochs
about.cifar_sam := 50 to 50,000 samples of CIFAR-10, sharpness-aware minimisation, 700 epochs

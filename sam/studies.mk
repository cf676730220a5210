# Studies of this folder: about.NAME is a study's line in `make help`.
sam_STUDIES := mnist_sam swiss_sam cifar_sam
# Small networks: all repeats go through a stage in one process.
sam_TOGETHER := swiss_sam

about.mnist_sam := mnist_data trained with sharpness-aware minimisation
about.swiss_sam := swiss_data_x5 trained with sharpness-aware minimisation
about.cifar_sam := cifar_data trained with sharpness-aware minimisation

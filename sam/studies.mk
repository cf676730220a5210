# Studies of this folder: data.NAME the data set to fetch first, about.NAME its line in `make help`.
sam_STUDIES := mnist_sam swiss_sam cifar_sam
# Small networks: all repeats go through a stage in one process.
sam_TOGETHER := swiss_sam

data.mnist_sam := mnist
data.cifar_sam := cifar10

about.mnist_sam := mnist_data trained with sharpness-aware minimisation
about.swiss_sam := swiss_data_x5 trained with sharpness-aware minimisation
about.cifar_sam := cifar_data trained with sharpness-aware minimisation

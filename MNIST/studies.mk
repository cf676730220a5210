# Studies of this folder: data.NAME the data set to fetch first, about.NAME its line in `make help`.
MNIST_STUDIES := digits_poison digits_data mnist_poison
# Small networks: all repeats go through a stage in one process.
MNIST_TOGETHER := digits_poison digits_data

data.mnist_poison := mnist

about.digits_poison := mislabelled extras on the bundled 8x8 digits; needs no download
about.digits_data := more data on the bundled 8x8 digits, every nested landscape
about.mnist_poison := mislabelled extras on MNIST, volumes in the clean landscape

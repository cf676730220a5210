# The studies of this folder; about.NAME is the line of study NAME in `make help`.
CIFAR10_STUDIES := cifar_data cifar_cnn_data cifar_poison

about.cifar_data := 50 to 50,000 samples of CIFAR-10, every nested landscape
about.cifar_cnn_data := 50 to 50,000 samples of CIFAR-10, convolutional network
about.cifar_poison := mislabelled extras on CIFAR-10, volumes in the clean landscape

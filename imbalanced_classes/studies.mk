# Studies of this folder: data.NAME the data set to fetch first, about.NAME its line in `make help`.
imbalanced_classes_STUDIES := mnist_imbalanced mnist_imbalanced_extra cifar_imbalanced cifar_imbalanced_extra

data.mnist_imbalanced := mnist
data.mnist_imbalanced_extra := mnist
data.cifar_imbalanced := cifar10
data.cifar_imbalanced_extra := cifar10

about.mnist_imbalanced := 90 per cent class 0 in the base, balanced extras, MNIST
about.mnist_imbalanced_extra := balanced base, 90 per cent class 0 in the extras, MNIST
about.cifar_imbalanced := 90 per cent class 0 in the base, balanced extras, CIFAR-10
about.cifar_imbalanced_extra := balanced base, 90 per cent class 0 in the extras, CIFAR-10

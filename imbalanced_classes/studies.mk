# The studies of this folder; about.NAME is the line of study NAME in `make help`.
imbalanced_classes_STUDIES := mnist_imbalanced mnist_imbalanced_extra cifar_imbalanced cifar_imbalanced_extra cifar_balanced

about.mnist_imbalanced := 90 per cent class 0 in the base, balanced extras, MNIST
about.mnist_imbalanced_extra := balanced base, extras mostly of class 0, MNIST
about.cifar_imbalanced := 90 per cent class 0 in the base, balanced extras, CIFAR-10
about.cifar_imbalanced_extra := balanced base, extras mostly of class 0, CIFAR-10
about.cifar_balanced := the control: balanced base and extras, CIFAR-10

# The studies of this folder; about.NAME is the line of study NAME in `make help`.
MNIST_STUDIES := digits_poison digits_data digits_data_beyond mnist_poison mnist_noise mnist_data mnist_data_beyond mnist_data_raw mnist_data_large mnist_cnn_data mnist_batch_size mnist_batch_steps mnist_duplicates mnist_same_loss mnist_seeds digits_seeds
# Small networks: one process runs all repeats of a stage.
MNIST_TOGETHER := digits_poison digits_data digits_data_beyond digits_seeds

about.digits_poison := mislabelled extras on the bundled 8x8 digits; needs no download
about.digits_data := more data on the bundled 8x8 digits, every nested landscape
about.digits_data_beyond := the same minima in landscapes between and beyond their training sets: which is the largest
about.mnist_poison := mislabelled extras on MNIST, volumes in the clean landscape
about.mnist_noise := noise images as extras, volumes in the clean landscape
about.mnist_data := 60 to 60,000 samples of MNIST, every nested landscape
about.mnist_data_beyond := the same minima in landscapes between and beyond their training sets: which is the largest
about.mnist_data_raw := the same minima in raw coordinates, without filter normalisation
about.mnist_data_large := 60 to 60,000 samples of MNIST, larger network
about.mnist_cnn_data := 60 to 60,000 samples of MNIST, convolutional network
about.mnist_batch_size := batch size 100 to 6000 on MNIST
about.mnist_batch_steps := control: batch size 100 to 6000 on MNIST with the same number of steps
about.mnist_duplicates := control: duplicates of 60 samples of MNIST as extras
about.mnist_same_loss := control: 60 to 60,000 samples of MNIST, all trained to the same loss
about.mnist_seeds := control: twelve seeds on the same 600 samples of MNIST
about.digits_seeds := control: twenty seeds on the same 100 samples of 8x8 digits; needs no download

"""The public data sets that the examples and benchmarks use.

Sizes and SHA-256 sums are those that TensorFlow Datasets keeps (`tensorflow_datasets/url_checksums`), for
WikiText-2 that of the WikiText sets of DataDeps.jl, for CIFAR-10 as pictures that of FastAI.jl; the size of
that file, and size and MD5 sum of the dogs and cats, come from the `checks` of fastai. What nobody has
published is None and is written down at the first download.
"""

from __future__ import annotations

from zoo.datasets.described import Dataset, File

_MNIST = (
    (
        "train-images-idx3-ubyte.gz",
        9_912_422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    (
        "train-labels-idx1-ubyte.gz",
        28_881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    (
        "t10k-images-idx3-ubyte.gz",
        1_648_877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    ("t10k-labels-idx1-ubyte.gz", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
)
_MNIST_AT = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_PETS_AT = ("https://thor.robots.ox.ac.uk/pets/", "https://www.robots.ox.ac.uk/~vgg/data/pets/data/")

PUBLIC = (
    Dataset(
        name="ml-latest-small",
        about="MovieLens, small: 100,836 star ratings of 9,742 films by 610 people, titles and tags",
        terms="own terms (README.txt inside): research; redistribution on the same terms; no commercial use",
        page="https://grouplens.org/datasets/movielens/latest/",
        files=(
            File(
                name="ml-latest-small.zip",
                urls=("https://files.grouplens.org/datasets/movielens/ml-latest-small.zip",),
                size=978_202,
                sha256="696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
                top="ml-latest-small",
            ),
        ),
        holds=("ratings.csv", "movies.csv", "tags.csv", "links.csv"),
    ),
    Dataset(
        name="imdb",
        about="Film reviews: 50,000 with a label, train and test in halves, 50,000 without, a file each",
        terms="no licence is given: research use; cite Maas et al., Learning Word Vectors (ACL 2011)",
        page="https://ai.stanford.edu/~amaas/data/sentiment/",
        files=(
            File(
                name="aclImdb_v1.tar.gz",
                urls=("https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",),
                size=84_125_825,
                sha256="c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
                top="aclImdb",
            ),
        ),
        holds=("train/pos", "train/neg", "train/unsup", "test/pos", "test/neg"),
    ),
    Dataset(
        name="wikitext-2",
        about="WikiText-2: two million words of good articles of Wikipedia, in tokens, for language models",
        terms="CC BY-SA 3.0, as the articles of Wikipedia",
        page="https://arxiv.org/abs/1609.07843",
        files=(
            File(
                name="wikitext-2-v1.zip",
                urls=(
                    "https://wikitext.smerity.com/wikitext-2-v1.zip",
                    "https://s3.amazonaws.com/research.metamind.io/wikitext/wikitext-2-v1.zip",
                ),
                sha256="92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c",
                top="wikitext-2",
            ),
        ),
        holds=("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"),
    ),
    Dataset(
        name="mnist",
        about="MNIST: 70,000 handwritten digits of 28x28 pixels, as the four original idx files",
        terms="no licence is given by the authors (LeCun, Cortes, Burges); in common use for research",
        page="http://yann.lecun.com/exdb/mnist/",
        files=tuple(
            File(name=name, urls=tuple(place + name for place in _MNIST_AT), size=size, sha256=sum256)
            for name, size, sum256 in _MNIST
        ),
        holds=tuple(name.removesuffix(".gz") for name, _, _ in _MNIST),
    ),
    Dataset(
        name="cifar10",
        about="CIFAR-10: 60,000 colour pictures of 32x32 pixels in ten classes, a PNG folder a class",
        terms="no licence is given: research use; cite Krizhevsky, Learning Multiple Layers (2009)",
        page="https://www.cs.toronto.edu/~kriz/cifar.html",
        files=(
            File(
                name="cifar10.tgz",
                urls=("https://s3.amazonaws.com/fast-ai-imageclas/cifar10.tgz",),
                size=168_168_549,
                sha256="637c5814e11aefcb6ee76d5f59c67ddc8de7f5b5077502a195b0833d1e3e4441",
                top="cifar10",
            ),
        ),
        holds=("train/airplane", "test/airplane"),
    ),
    Dataset(
        name="pets",
        about="Oxford-IIIT Pet: 7,390 photos of 37 breeds of cats and dogs, with masks (annotations/trimaps)",
        terms="CC BY-SA 4.0; the photos' owners keep their rights",
        page="https://www.robots.ox.ac.uk/~vgg/data/pets/",
        files=(
            File(
                name="images.tar.gz",
                urls=tuple(f"{place}images.tar.gz" for place in _PETS_AT),
                size=791_918_971,
                sha256="67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
            ),
            File(
                name="annotations.tar.gz",
                urls=tuple(f"{place}annotations.tar.gz" for place in _PETS_AT),
                size=19_173_078,
                sha256="52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
            ),
        ),
        holds=("images", "annotations/trimaps"),
    ),
    Dataset(
        name="dogscats",
        about="Dogs vs. Cats: 25,000 photos with a label, 12,500 without, as packed by fast.ai",
        terms="of the Kaggle competition 'Dogs vs. Cats': research use, no redistribution",
        page="https://www.kaggle.com/c/dogs-vs-cats",
        files=(
            File(
                name="dogscats.tgz",
                urls=("https://files.fast.ai/data/examples/dogscats.tgz",),
                size=839_285_364,
                md5="3e483c8d6ef2175e9d395a6027eb92b7",
                top="dogscats",
            ),
        ),
        holds=("train/cats", "train/dogs", "valid/cats", "valid/dogs"),
    ),
    Dataset(
        name="nietzsche",
        about="Collected works of Nietzsche in English: 600,901 bytes, for models of characters",
        terms="public domain",
        page="https://www.gutenberg.org/ebooks/author/779",
        files=(
            File(
                name="nietzsche.txt",
                urls=("https://s3.amazonaws.com/text-datasets/nietzsche.txt",),
                size=600_901,
            ),
        ),
        holds=("nietzsche.txt",),
    ),
    Dataset(
        name="rossmann",
        about="Rossmann Store Sales: 1,017,209 days of 1,115 drug stores, to forecast six weeks",
        terms="rules of the Kaggle competition: for its participants, no redistribution",
        page="https://www.kaggle.com/c/rossmann-store-sales/data",
        files=(File(name="rossmann-store-sales.zip"),),
        holds=("train.csv", "test.csv", "store.csv"),
        by_hand="log in to Kaggle, accept the rules and download all there (or `kaggle competitions download "
        "-c rossmann-store-sales`); the tables of weather, states and trends that the examples join, in "
        "external/, are posts in the competition's forum",
    ),
    Dataset(
        name="planet",
        about="Planet: Understanding the Amazon from Space: satellite tiles with several labels each",
        terms="rules of the Kaggle competition: for its participants, no redistribution",
        page="https://www.kaggle.com/c/planet-understanding-the-amazon-from-space/data",
        files=(File(name="train-jpg.tar"), File(name="train_v2.csv")),
        holds=("train-jpg", "train_v2.csv"),
        by_hand="log in to Kaggle, accept the rules and download train-jpg.tar.7z, which 7-Zip turns into "
        "train-jpg.tar, and train_v2.csv.zip, out of which comes train_v2.csv",
    ),
)

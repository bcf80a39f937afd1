from .classifier import TextClassifierLearner as TextClassifierLearner
from .data.labelled_data import TextData as TextData
from .data.language_data import LanguageModelData as LanguageModelData
from .learner import LanguageLearner as LanguageLearner
from .tokens.vocab import Field as Field
from .tokens.vocab import Vocab as Vocab

from .classifier import TextClassifierLearner as TextClassifierLearner
from .data.labelled_data import TextData as TextData
from .data.language_data import LanguageModelData as LanguageModelData
from .learner import LanguageLearner as LanguageLearner
from .model.awd_lstm import WordEmbedding as WordEmbedding
from .model.language_model import seq2seq_reg as seq2seq_reg
from .tokens.vocab import Field as Field
from .tokens.vocab import Vocab as Vocab

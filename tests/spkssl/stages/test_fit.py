import numpy as np
import torch

from spkssl.stages.fit import _save_table


def test_table_of_utterances_is_read_without_pickle_under_their_names(tmp_path):
    columns = {"loss": torch.tensor([0.5, float("inf")]), "accepted": torch.tensor([True, False])}
    _save_table(tmp_path / "utterances.npz", ["id1-ä", "id2"], columns)
    with np.load(tmp_path / "utterances.npz", allow_pickle=False) as table:
        assert [name.decode() for name in table["utt"]] == ["id1-ä", "id2"]
        assert table["loss"].tolist() == [0.5, np.inf] and table["accepted"].tolist() == [True, False]


def test_a_method_that_knows_nothing_of_utterances_leaves_no_table(tmp_path):
    _save_table(tmp_path / "utterances.npz", ["id1"], {})
    assert not list(tmp_path.iterdir())


def test_the_table_of_a_method_trained_here_before_goes(tmp_path):
    _save_table(tmp_path / "utterances.npz", ["id1"], {"loss": torch.tensor([0.5])})
    _save_table(tmp_path / "utterances.npz", ["id1"], {})
    assert not list(tmp_path.iterdir())

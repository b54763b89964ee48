from logfm.finetune.decoder.navigator import error_layer, prediction_layer


def test_predictions_are_counted():
    layer = prediction_layer("ours", [{"T1003.001", "T1059"}, {"T1059"}, set()], "18")
    assert layer["versions"] == {"attack": "18", "navigator": "5.1.0", "layer": "4.5"}
    assert layer["domain"] == "enterprise-attack"
    assert {one["techniqueID"]: one["score"] for one in layer["techniques"]} == {"T1003.001": 1, "T1059": 2}
    assert layer["gradient"]["maxValue"] == 2


def test_errors_say_what_was_missed_and_what_was_without_cause():
    layer = error_layer("ours", [{"T1003", "T1059"}, {"T1047"}], [{"T1059"}, {"T1047", "T1003"}], "18")
    assert [(one["techniqueID"], one["score"], one["comment"]) for one in layer["techniques"]] == [
        ("T1003", 2, "missed 1, without cause 1, right 0")
    ]


def test_an_empty_layer_is_a_layer():
    assert prediction_layer("ours", [], "18")["techniques"] == []

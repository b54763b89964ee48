import json

BGL = "KERNDTLB 1117838570 2005.06.03 R02-M1 2005-06-03-15.42.50.675872 R02-M1 RAS KERNEL FATAL data TLB error"
FINE = "- 1117838573 2005.06.03 R02-M1 2005-06-03-15.42.53.276129 R02-M1 RAS KERNEL INFO cache parity error corrected"


def test_the_label_is_cut_off_a_tagged_line(put, labelled):
    put("BGL/BGL.log", f"{FINE}\n{BGL}\n")
    (fine, bad), rejects = labelled("loghub")
    assert rejects == []
    assert (fine.label, bad.label) == ("normal", "KERNDTLB")
    assert fine.text == FINE[2:]
    assert bad.text == BGL.removeprefix("KERNDTLB ")
    assert "KERNDTLB" not in (bad.fields or "") and "label" not in json.loads(bad.fields)
    assert bad.offset == len(FINE) + 1
    assert bad.host == "R02-M1" and bad.timestamp.isoformat() == "2005-06-03T15:42:50.675872+00:00"


def test_a_thunderbird_line_loses_its_tag_even_where_the_rest_is_odd(put, labelled):
    lines = ["- 1131566461 2005.11.09 dn228 Nov 9 12:01:01 dn228/dn228 crond[2915]: closed"] * 3
    put("Thunderbird.log", "\n".join([*lines, "VAPI 1131566462 broken"]) + "\n")
    events, _ = labelled("loghub")
    assert [one.label for one in events] == ["normal"] * 3 + ["VAPI"]
    assert events[3].text == "1131566462 broken"


def test_hdfs_lines_get_the_label_of_their_block(put, labelled):
    line = "081109 203518 143 INFO dfs.DataNode$DataXceiver: Receiving block {} src: /10.0.0.1:5 dest: /10.0.0.2:6"
    put("HDFS_v1/HDFS.log", "\n".join(line.format(one) for one in ("blk_-12", "blk_7")) + "\n")
    put(
        "HDFS_v1/preprocessed.zip", {"preprocessed/anomaly_label.csv": "BlockId,Label\nblk_-12,Anomaly\nblk_7,Normal\n"}
    )
    events, _ = labelled("loghub")
    events = [one for one in events if "Receiving" in one.text]
    assert [(one.session_id, one.label) for one in events] == [("blk_-12", "anomaly"), ("blk_7", "normal")]


def test_hdfs_without_labels_has_sessions_and_no_labels(put, labelled):
    put("HDFS.log", "081109 203518 143 INFO dfs.DataNode: Receiving block blk_5 src\n")
    ((event,), _) = labelled("loghub")
    assert (event.session_id, event.label) == ("blk_5", None)


def test_hadoop_applications_have_the_fault_that_was_injected(put, labelled):
    labels = "## WordCount\n### Normal:\n+ application_14_0001\n### Machine down:\n+ application_14_0002\n"
    put("Hadoop/abnormal_label.txt", labels)
    line = "2015-10-18 18:01:47,978 INFO [main] org.apache.hadoop.mapreduce.v2.app.MRAppMaster: Created\n"
    for number in (1, 2, 3):
        put(f"Hadoop/application_14_000{number}/container_14_000{number}_01.log", line)
    events, rejects = labelled("loghub")
    assert rejects == []
    assert [(one.session_id, one.label) for one in events] == [
        ("application_14_0001", "normal"), ("application_14_0002", "machine_down"), ("application_14_0003", None),
    ]  # fmt: skip


def test_openstack_instances(put, labelled):
    bad, good = "544fd51c-4edc-4780-baae-ba1d80a0acfc", "544fd51c-4edc-4780-baae-ba1d80a0acfd"
    put("OpenStack/anomaly_labels.txt", f"List of anomalous instances\n{bad}\n")
    line = (
        "nova-compute.log.1 2017-05-16 00:00:04.500 2931 INFO nova.compute.manager [req-1] [instance: {}] VM Started\n"
    )
    put("OpenStack/openstack_abnormal.log", line.format(bad) + line.format(good))
    put("OpenStack/openstack_normal1.log", "nova-api.log 2017-05-16 00:00:00.008 25746 INFO nova.osapi GET\n")
    events, _ = labelled("loghub")
    assert [(one.label, one.session_id) for one in events] == [("anomaly", bad), ("normal", good), ("normal", None)]


def test_a_parsed_table_is_read_without_its_answers_and_only_without_its_log(put, labelled):
    table = (
        "LineId,Label,Timestamp,Node,Content,EventId,EventTemplate\n1,KERNDTLB,1117838570,R02,TLB error,E77,TLB <*>\n"
    )
    put("BGL/BGL_2k.log_structured.csv", table)
    put("BGL/BGL_2k.log_templates.csv", "EventId,EventTemplate\nE77,TLB <*>\n")
    ((event,), rejects) = labelled("loghub")
    assert rejects == [] and event.label == "KERNDTLB"
    assert json.loads(event.text) == {"Timestamp": "1117838570", "Node": "R02", "Content": "TLB error"}
    put("BGL/BGL_2k.log", BGL + "\n")
    ((event,), _) = labelled("loghub")
    assert event.text.startswith("1117838570")

"""Between ROS and arrays: messages, synchronisation, QoS, parameters, lifecycle, diagnostics."""

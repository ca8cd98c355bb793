"""Live streams: what is known of them, the process of each, and the manager that keeps them all.

``records`` are the words and ``messages`` is what a stream's process tells.

In that process: ``process`` is its main function and connects again and again, ``session`` follows a live
source and ``playback`` a file, ``sight`` judges whether a camera can see, ``recogniser`` asks the network,
``shadows`` follows labels on trial, ``screen`` and ``recording`` are about pictures, ``meter`` counts, and
``outlet`` tells of it all.

In the service: ``store`` remembers definitions, ``manager`` starts, changes and removes streams,
``admission`` lets them in and gives each its rate as ``sharing`` divides what the network can take,
``stream`` hears one of them and ``journal`` brings what it tells into the log of events, ``broadcast``
carries its labels and pictures to any number of subscribers, ``archive`` keeps the recordings.
"""
